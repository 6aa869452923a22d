using Edge.Common.Configuration;
using Xunit;

namespace Edge.Common.Tests.Configuration;

/// <summary>Values laid into a config file in their places: all else in the file stays as it was written.</summary>
[Trait("Category", "Unit")]
public sealed class YamlEditTests
{
    private const string Config = """
        # what this node is for
        apiVersion: edgecore.config.kubeedge.io/v1alpha2
        kind: EdgeCore   # never changes

        modules:
          # the way to the cloud
          edgeHub:
            heartbeat: 15        # seconds
            token: 'a # b'       # no comment begins in quotes
            websocket: {server: "10.0.0.1:10000", enable: true}   # in one line
            quic:
          edged:
            labels:
              - one   # first
              - two   # last
            text: |
              # this is text
              and this

        # the end
        """;

    [Theory]
    [InlineData("modules.edgeHub.heartbeat=20", "heartbeat: 15        # seconds", "heartbeat: 20        # seconds")]
    [InlineData("modules.edgeHub.token=c", "token: 'a # b'       # no", "token: c       # no")]
    [InlineData("modules.edgeHub.token=# no comment", "token: 'a # b'", "token: '# no comment'")]
    [InlineData("modules.edgeHub.websocket.server=10.0.0.2:10000", "\"10.0.0.1:10000\"", "'10.0.0.2:10000'")]
    [InlineData("modules.edgeHub.websocket={server: h, enable: false}", "{server: \"10.0.0.1:10000\", enable: true}", "{server: h, enable: false}")]
    [InlineData("modules.edgeHub.websocket.writeDeadline=9", "enable: true}", "enable: true, writeDeadline: 9}")]
    [InlineData("modules.edgeHub.websocket.tls.caFile=/ca", "enable: true}", "enable: true, tls: {caFile: /ca}}")]
    [InlineData("modules.edgeHub.quic=[a, b]", "quic:\n", "quic: [a, b]\n")]
    [InlineData("modules.edgeHub.messageQPS=60", "    quic:\n", "    quic:\n    messageQPS: 60\n")]
    [InlineData("kind=Other", "kind: EdgeCore   # never", "kind: Other   # never")]
    public void A_value_changes_in_its_place_and_nothing_else_does(string set, string former, string changed)
        => Assert.Equal(Config.Replace(former, changed, StringComparison.Ordinal), YamlEdit.TryApply(Config, [set]));

    [Fact]
    public void A_key_that_is_not_there_comes_behind_the_last_one_of_its_section_with_that_ones_comment_untouched()
    {
        const string yaml = "a:\n  b: 1 # one\n  c:\n    - x # last\n# of d\nd: 2\n";
        Assert.Equal("a:\n  b: 1 # one\n  c:\n    - x # last\n  e:\n    f: 3\n# of d\nd: 2\n", YamlEdit.TryApply(yaml, ["a.e.f=3"]));
        Assert.Equal(yaml + "e:\n  f: 3\n", YamlEdit.TryApply(yaml, ["e.f=3"]));
        Assert.Equal("a: 1 # no line behind it\nb: 2\n", YamlEdit.TryApply("a: 1 # no line behind it", ["b=2"]));
        Assert.Equal("a: 1 # windows\r\nb: 3\r\n", YamlEdit.TryApply("a: 1 # windows\r\nb: 2\r\n", ["b=3"]));
    }

    [Fact]
    public void Many_are_laid_in_one_after_the_other()
    {
        var text = YamlEdit.TryApply(Config, ["modules.edgeHub.heartbeat=1000", "modules.edgeHub.messageQPS=60", "modules.edgeHub.messageBurst=120", "modules.edgeHub.token=x"]);
        Assert.Equal(
            Config.Replace("heartbeat: 15", "heartbeat: 1000", StringComparison.Ordinal).Replace("'a # b'", "x", StringComparison.Ordinal)
                .Replace("    quic:\n", "    quic:\n    messageQPS: 60\n    messageBurst: 120\n", StringComparison.Ordinal), text);
    }

    [Theory]
    [InlineData("a: |\n  text\nb: 1\n", "a=2")] // over lines
    [InlineData("a:\n  b: 1\n", "a={b: 2}")]
    [InlineData("a:\n- 1\n- 2\n", "a=[3]")]
    [InlineData("a: &x {b: 1}\nc: *x\n", "a.b=2")] // would change c as well
    [InlineData("a: &x 1\nc: *x\n", "a=2")]
    [InlineData("a: 1\n...\n", "b=2")]
    [InlineData("a: 1\nb: 2\n", "a=two\nlines")]
    [InlineData("a: {b: 1}\n", "a.c=x, d: 2}")]
    public void What_cannot_be_put_in_its_place_alone_is_left_to_whoever_writes_the_whole(string yaml, string set)
    {
        var text = YamlEdit.TryApply(yaml, [set]);
        // Either null, or exactly what the whole rewriting means.
        if (text is not null)
            Assert.Equal(SetKeys.Apply(yaml, [set]), SetKeys.Apply(text, []));
        if (!yaml.Contains("...", StringComparison.Ordinal) && !set.Contains(", d", StringComparison.Ordinal))
            Assert.Null(text);
    }

    [Fact]
    public void What_is_no_change_that_can_be_is_told_as_by_the_rewriting()
    {
        Assert.Contains("a is not a section", Assert.Throws<ConfigException>(() => YamlEdit.TryApply("a: 1\n", ["a.b=2"])).Message, StringComparison.Ordinal);
        Assert.Contains("not one YAML mapping", Assert.Throws<ConfigException>(() => YamlEdit.TryApply("- 1\n", ["a=2"])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Whatever_is_changed_means_the_same_as_the_rewriting_and_keeps_every_comment()
    {
        var random = new Random(7);
        string[] keys = ["modules.edgeHub.heartbeat", "modules.edgeHub.token", "modules.edgeHub.websocket.server", "modules.edgeHub.new", "modules.edged.labels", "modules.edged.deep.er", "modules.edgeHub.quic", "kind", "database.dataSource"];
        string[] values = ["1", "true", "text", "a: b", "# x", "[1, 2]", "{a: 1}", "'q'", "", " ", "null", "~", "- x", "*y", "0x1f", "ü"];
        var kept = 0;
        for (var run = 0; run < 300; run++)
        {
            var sets = Enumerable.Range(0, random.Next(1, 4)).Select(_ => $"{keys[random.Next(keys.Length)]}={values[random.Next(values.Length)]}").DistinctBy(set => set.Split('=')[0]).ToList();
            string whole;
            try
            {
                whole = SetKeys.Apply(Config, sets);
            }
            catch (ConfigException)
            {
                continue;
            }

            if (YamlEdit.TryApply(Config, sets) is not { } text)
                continue;
            kept++;
            Assert.True(SetKeys.Apply(whole, []) == SetKeys.Apply(text, []) || Sorted(whole) == Sorted(text), $"{string.Join(", ", sets)}:\n{text}");
            foreach (var comment in (string[])["# what this node is for", "# never changes", "# the way to the cloud", "# seconds", "# first", "# last", "# this is text", "# the end"])
                Assert.Contains(comment, text, StringComparison.Ordinal);
        }

        Assert.True(kept > 100, $"only {kept} were kept");
    }

    // A key added elsewhere than the rewriting puts it, or in other quotes, is the same.
    private static string Sorted(string yaml)
        => string.Join('\n', SetKeys.Apply(yaml, []).Replace("'", "", StringComparison.Ordinal).Replace("\"", "", StringComparison.Ordinal).Split('\n').Select(line => line.Trim()).Order(StringComparer.Ordinal));
}

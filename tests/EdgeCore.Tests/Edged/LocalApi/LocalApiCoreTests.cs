using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Core.Edged.LocalApi;
using Edge.Kubernetes;

namespace Edge.Core.Tests.LocalApi;

/// <summary>The local API's decisions, without a socket.</summary>
[Trait("Category", "Pods")]
public sealed class LocalApiCoreTests
{
    private static readonly DateTimeOffset s_now = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);

    [Theory]
    [InlineData(null, 401)]
    [InlineData("", 401)]
    [InlineData("Bearer 0123456789abcdef", 200)]
    [InlineData("bearer 0123456789abcdef", 200)]
    [InlineData("Bearer 0123456789abcdeg", 401)]
    [InlineData("Bearer ", 401)]
    [InlineData("Basic 0123456789abcdef", 401)]
    public void Only_the_token_opens(string? header, int status) => Assert.Equal(status, new LocalApiAccess("0123456789abcdef").Check(header, null).Status);

    [Theory]
    [InlineData("CN=admin, O=system:masters", 200)]
    [InlineData("CN=kube-apiserver-kubelet-client, O=kubeadm:cluster-admins", 200)]
    [InlineData("CN=system:masters, O=edge", 403)]
    [InlineData("CN=system:node:n1, O=system:nodes", 403)]
    [InlineData("O=kube-apiserver-kubelet-client", 403)]
    public void A_certificate_opens_by_its_group_or_as_the_API_servers(string subject, int status)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var certificate = new CertificateRequest(subject, key, HashAlgorithmName.SHA256).CreateSelfSigned(s_now, s_now.AddDays(1));
        Assert.Equal(status, new LocalApiAccess("0123456789abcdef").Check(null, certificate).Status);
        // A wrong token is not made good by a certificate.
        Assert.Equal(401, new LocalApiAccess("0123456789abcdef").Check("Bearer wrong", certificate).Status);
    }

    [Fact]
    public void The_token_is_made_once_for_the_owner_alone_and_refused_when_others_can_read_it()
    {
        using var directory = new TempDirectory();
        var path = directory.File("sub/localapi.token");
        var token = TokenFile.LoadOrCreate(path);
        Assert.Matches(@"\A[0-9a-f]{64}\z", token);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
        Assert.Equal(token, TokenFile.LoadOrCreate(path));
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.OtherRead);
        var error = Assert.Throws<LocalApiException>(() => TokenFile.LoadOrCreate(path)).Message;
        Assert.Contains($"chmod 600 {path}", error, StringComparison.Ordinal);
        Assert.DoesNotContain(token, error, StringComparison.Ordinal);
        foreach (var bad in (string[])["", "short", new string('x', 5000)])
        {
            File.Delete(path);
            File.WriteAllText(path, bad);
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            Assert.Contains("remove it, and a new one is made", Assert.Throws<LocalApiException>(() => TokenFile.LoadOrCreate(path)).Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void The_query_of_a_log_is_read_as_a_kubelet_reads_it()
    {
        var options = Logs("follow=true&previous=1&timestamps=true&tailLines=5&sinceSeconds=10&limitBytes=100");
        Assert.Equal(new ContainerLogOptions(true, true, true, 5, s_now.AddSeconds(-10), 100), options);
        Assert.Equal(new ContainerLogOptions(false, false, false, null, null, long.MaxValue), Logs(""));
        Assert.Equal(s_now, Logs("sinceTime=2026-01-02T03:04:05Z").Since);
        Assert.Equal(DateTimeOffset.MinValue, Logs("sinceSeconds=9223372036854775807").Since);
    }

    [Theory]
    [InlineData("tailLines=-1", "tailLines is '-1'")]
    [InlineData("tailLines=ten", "tailLines is 'ten'")]
    [InlineData("limitBytes=0", "limitBytes is '0'")]
    [InlineData("sinceSeconds=0", "sinceSeconds is '0'")]
    [InlineData("sinceTime=now", "sinceTime is 'now'")]
    [InlineData("sinceTime=2026-01-02T03:04:05Z&sinceSeconds=1", "not both")]
    [InlineData("follow=maybe", "follow is 'maybe'")]
    public void A_query_of_a_log_that_cannot_be_is_named(string query, string says)
    {
        var refusal = Assert.Throws<LocalApiRefusal>(() => Logs(query));
        Assert.Equal(400, refusal.Status);
        Assert.Contains(says, refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_queries_of_streams_become_the_runtimes_requests()
    {
        var exec = StreamRequest.Exec("c", Values("command=sh&command=-c&command=a b&input=1&output=1&error=1&tty=1"));
        Assert.Equal(["sh", "-c", "a b"], exec.Cmd);
        Assert.Equal((true, true, false, true), (exec.Stdin, exec.Stdout, exec.Stderr, exec.Tty)); // a terminal has no separate error output
        Assert.True(StreamRequest.Exec("c", Values("command=ls&stderr=true")).Stderr);
        Assert.Equal((true, false), (StreamRequest.Attach("c", false, Values("error=1")).Stderr, StreamRequest.Attach("c", true, Values("error=1")).Stderr));
        Assert.Equal([80, 443, 8080], StreamRequest.PortForward("s", Values("port=80,443&port=8080")).Port);
        Assert.Empty(StreamRequest.PortForward("s", Values("")).Port);
    }

    [Theory]
    [InlineData("exec", "command=ls", "at least one of input, output and error")]
    [InlineData("exec", "output=1", "command is missing")]
    [InlineData("attach", "tty=1", "at least one of")]
    [InlineData("portForward", "port=0", "port is '0'")]
    [InlineData("portForward", "port=65536", "port is '65536'")]
    [InlineData("portForward", "port=http", "port is 'http'")]
    public void A_query_of_a_stream_that_cannot_be_is_named(string verb, string query, string says)
    {
        var refusal = Assert.Throws<LocalApiRefusal>(() => verb switch
        {
            "exec" => (object)StreamRequest.Exec("c", Values(query)),
            "attach" => StreamRequest.Attach("c", false, Values(query)),
            _ => StreamRequest.PortForward("s", Values(query)),
        });
        Assert.Equal(400, refusal.Status);
        Assert.Contains(says, refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_runtimes_answer_is_read_whole_and_every_prefix_asks_for_more()
    {
        var bytes = Encoding.ASCII.GetBytes("HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\nX-A:  b \r\n\r\nrest");
        for (var length = 0; length < bytes.Length - 4; length++)
            Assert.Null(UpgradeAnswer.Read(bytes.AsSpan(0, length), out _));
        var answer = UpgradeAnswer.Read(bytes, out var head)!;
        Assert.Equal((101, "Switching Protocols", bytes.Length - 4), (answer.Status, answer.Reason, head));
        Assert.Equal([KeyValuePair.Create("Upgrade", "SPDY/3.1"), KeyValuePair.Create("X-A", "b")], answer.Headers);
    }

    [Theory]
    [InlineData("SSH-2.0\r\n\r\n")]
    [InlineData("HTTP/1.1 abc\r\n\r\n")]
    [InlineData("HTTP/1.1 99 No\r\n\r\n")]
    [InlineData("HTTP/1.1 101 Ok\r\nnocolon\r\n\r\n")]
    public void An_answer_that_is_none_is_a_bad_gateway(string text)
        => Assert.Equal(502, Assert.Throws<LocalApiRefusal>(() => UpgradeAnswer.Read(Encoding.ASCII.GetBytes(text), out _)).Status);

    [Fact]
    public void An_endless_head_is_refused() => Assert.Throws<LocalApiRefusal>(() => UpgradeAnswer.Read(new byte[UpgradeAnswer.SizeMax], out _));

    [Fact]
    public void While_a_container_waits_its_last_run_is_also_the_previous_one()
    {
        (uint, bool, string)[] runs = [(1, false, "b"), (0, true, "a")];
        Assert.Equal("b", LogSelection.Choose(runs, false, false)?.Id);
        Assert.Equal("a", LogSelection.Choose(runs, false, true)?.Id);
        Assert.Equal("a", LogSelection.Choose([(0, true, "a")], true, true)?.Id);
        Assert.Null(LogSelection.Choose([(0, true, "a")], false, true));
        Assert.Null(LogSelection.Choose([], false, false));
    }

    [Fact]
    public void No_more_streams_than_the_bound_are_open_at_once()
    {
        var counts = new LocalApiMetrics();
        var open = Enumerable.Range(0, LocalApiMetrics.StreamsMax).Select(_ => counts.OpenStream()).ToList();
        Assert.Equal(429, Assert.Throws<LocalApiRefusal>(() => counts.OpenStream()).Status);
        open[0].Dispose();
        open[0].Dispose(); // twice gives back one place
        counts.OpenStream();
        Assert.Throws<LocalApiRefusal>(() => counts.OpenStream());
        Assert.Contains($"edgecore_local_api_streams {LocalApiMetrics.StreamsMax}\n", counts.Text(), StringComparison.Ordinal);
    }

    [Fact]
    public void The_effective_config_has_no_secret()
    {
        const string Secret = "hash.the.join.token";
        var text = ConfigView.Build(new Configuration.EdgeCoreOptions { NodeName = "n", EdgeHub = new Configuration.EdgeHubOptions { Token = Secret } }).ToJsonString();
        Assert.DoesNotContain(Secret, text, StringComparison.Ordinal);
        Assert.Equal(10350, JsonNode.Parse(text).Number(0, "kubeletconfig", "readOnlyPort"));
    }

    private static ContainerLogOptions Logs(string query) => ContainerLogOptions.Parse(key => Values(query)(key) is [var value, ..] ? value : null, s_now);

    private static Func<string, IReadOnlyList<string>> Values(string query)
        => key => [.. query.Split('&').Select(pair => pair.Split('=', 2)).Where(pair => pair.Length == 2 && pair[0] == key).Select(pair => pair[1])];
}

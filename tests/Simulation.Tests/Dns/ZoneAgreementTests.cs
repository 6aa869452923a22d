using Edge.Kubernetes;
using Edge.Protocol.Dns;
using Edge.Testing.Dns;
using Xunit;

namespace Edge.Simulation.Tests.Dns;

/// <summary>A node answers for the cloud's zones as the cloud does: generated zones and questions, code, answer and negative SOA compared.</summary>
[Trait("Category", "Dns")]
public sealed class ZoneAgreementTests
{
    private const int Worlds = 40;
    private const int Questions = 50;

    // As many aliases in a row as either follows; further ones are the asker's to follow at the cloud, and SERVFAIL at a node.
    private const int AliasesMax = 16;

    private enum Outcome
    {
        Positive,
        NoData,
        NoName,

        /// <summary>What the node cannot know: in none of the zones, or delegated. It asks its upstreams, where the cloud refuses or refers.</summary>
        Others,

        /// <summary>Aliases in a circle, or more than are followed. The node says SERVFAIL, as a resolver; the authority leaves it to the asker (RFC 1034 §3.6.2).</summary>
        Endless,

        /// <summary>Types and classes that nobody is asked for. The cloud says FORMERR or NODATA, the node REFUSED: it takes no part in them, whoever the zone is of.</summary>
        NoQuestion,
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void A_node_answers_as_the_cloud_does_wherever_it_answers_itself(int seed)
    {
        var counts = new Dictionary<Outcome, int>();
        var (chains, wildcards, services, halfServices) = (0, 0, 0, 0);
        for (var i = 0; i < Worlds; i++)
        {
            var random = new Random((seed * 1_000_003) + i);
            var generator = new DnsWorldGenerator(random);
            generator.Fill();
            var world = new DnsWorld(generator.Zones, generator.Services);
            Assert.Empty(world.LeftOut);
            var hosts = generator.Services.SelectMany(service => service.Texts("spec", "hosts")).ToHashSet(StringComparer.OrdinalIgnoreCase);
            for (var j = 0; j < Questions; j++)
            {
                var (name, type, recordClass) = generator.Question();
                var expected = AskAsResolver(world, name, type, recordClass);
                var found = Describe(world, name, type, recordClass, expected);
                Assert.True(
                    expected.Text == found,
                    $"seed {seed}, world {i}: {name} {recordClass} {RecordData.TypeName(type)}, {expected.Outcome}\ncloud {expected.Text}\nnode  {found}\n{string.Join('\n', generator.Zones.Concat(generator.Services).Select(obj => obj.ToJsonString()))}");
                counts[expected.Outcome] = counts.GetValueOrDefault(expected.Outcome) + 1;
                chains += expected.Aliases > 1 ? 1 : 0;
                services += found.Contains("192.0.2.20", StringComparison.Ordinal) ? 1 : 0;
                halfServices += expected.Outcome == Outcome.NoData && type == RecordType.AAAA && hosts.Contains(name) ? 1 : 0;
                wildcards += expected.Outcome == Outcome.Positive && name.Contains("none", StringComparison.OrdinalIgnoreCase) ? 1 : 0;
            }
        }

        // All kinds were met, so that the run says something.
        Assert.All(Enum.GetValues<Outcome>(), outcome => Assert.True(counts.GetValueOrDefault(outcome) > 0, $"{outcome} never came"));
        Assert.True(chains > 20 && wildcards > 10 && services > 20 && halfServices > 0, $"{chains} chains, {wildcards} wildcards, {services} services, {halfServices} without an address there");
    }

    // What a resolver that may ask the cloud alone makes of its answers: it goes on where an alias leaves the zone.
    private static Expected AskAsResolver(DnsWorld world, string name, RecordType type, RecordClass recordClass)
    {
        if (recordClass != RecordClass.IN || type is RecordType.None or (RecordType)253)
        {
            var code = DnsPackets.Rcode(world.AskCloud(Query(name, type, recordClass)));
            Assert.True(code is ResponseCode.Refused or ResponseCode.FormatError || type == (RecordType)253, $"{name} {recordClass} {type}: {code}");
            return new Expected(Outcome.NoQuestion, 0, "Refused");
        }

        var rows = new List<string>();
        for (var next = name; ;)
        {
            var answer = world.AskCloud(Query(next, type, recordClass));
            var (code, authority) = (DnsPackets.Rcode(answer), Records(answer, Section.Authority));
            rows.AddRange(Records(answer, Section.Answer));
            var aliases = rows.TakeWhile(IsAlias).ToList();
            var isAnswered = authority.Length > 0 || type is RecordType.CNAME or RecordType.ANY || rows.Count == 0 || !IsAlias(rows[^1]);
            if (code == ResponseCode.Refused || (authority.Length > 0 && authority[0].Split(' ')[2] == "NS"))
                return new Expected(aliases.Count > AliasesMax ? Outcome.Endless : Outcome.Others, aliases.Count, aliases.Count > AliasesMax ? "ServerFailure" : Text(ResponseCode.Refused, rows, []));
            if (isAnswered)
            {
                return aliases.Count > AliasesMax && type is not (RecordType.CNAME or RecordType.ANY) ? new Expected(Outcome.Endless, aliases.Count, "ServerFailure")
                    : new Expected(code == ResponseCode.NameError ? Outcome.NoName : authority.Length > 0 ? Outcome.NoData : Outcome.Positive, aliases.Count, Text(code, rows, authority));
            }

            next = rows[^1].Split(' ')[3];
            if (rows.Any(row => row.Split(' ')[0] == next))
                return new Expected(Outcome.Endless, aliases.Count, "ServerFailure");
        }
    }

    private static string Describe(DnsWorld world, string name, RecordType type, RecordClass recordClass, Expected expected)
    {
        var answer = world.AskNode(Query(name, type, recordClass), out var isForwarded);
        var code = DnsPackets.Rcode(answer);
        if (expected.Outcome is Outcome.Endless or Outcome.NoQuestion)
            return code.ToString();
        // RFC 8482 §4: a node asks nobody for ANY.
        if (type == RecordType.ANY && expected.Outcome == Outcome.Others && !isForwarded && code == ResponseCode.NotImplemented)
            return expected.Text;
        Assert.Equal(expected.Outcome == Outcome.Others, isForwarded);
        return Text(code, Records(answer, Section.Answer), Records(answer, Section.Authority));
    }

    private static byte[] Query(string name, RecordType type, RecordClass recordClass) => DnsPackets.Query(name, type, edns: 1232, recordClass: recordClass);

    // Aliases in their order, the set that they lead to in any.
    private static string Text(ResponseCode code, IReadOnlyList<string> rows, IReadOnlyList<string> authority)
        => string.Join(" | ", [code.ToString(), .. rows.TakeWhile(IsAlias), .. rows.SkipWhile(IsAlias).Order(StringComparer.Ordinal), .. authority]);

    private static bool IsAlias(string row) => row.Split(' ')[2] == "CNAME";

    // Names in lower case (RFC 4343): an answer may have those of the question or those of the zone.
    private static string[] Records(byte[] answer, Section section) => [.. DnsPackets.Records(answer, section).Select(row =>
    {
        var parts = row.Split(' ', 4);
        return $"{parts[0].ToLowerInvariant()} {parts[1]} {parts[2]} {(parts[2] is "TXT" or "CAA" ? parts[3] : parts[3].ToLowerInvariant())}";
    })];

    private sealed record Expected(Outcome Outcome, int Aliases, string Text);
}

using System.Text.Json.Nodes;
using Edge.Protocol.Dns;

namespace Edge.Simulation.Tests.Dns;

/// <summary>Random zones that can be served, services in them, and questions around them. Names come of few labels, so that they meet.</summary>
internal sealed class DnsWorldGenerator(Random random)
{
    private static readonly string[] s_apexes = ["example", "edge.example", "Sub.edge.example", "deep.sub.edge.example", "other.test"];
    private static readonly string[] s_labels = ["a", "b", "www", "Mail", "_sip", "_tcp", "sub", "deep"];
    private static readonly string[] s_types = ["A", "AAAA", "CNAME", "CNAME", "CNAME", "CNAME", "MX", "TXT", "SRV", "CAA", "NS", "PTR"];

    // 253 is MAILB, 255 ANY, 65 HTTPS. No transfers: they are no questions.
    private static readonly RecordType[] s_asked =
    [
        RecordType.A, RecordType.A, RecordType.A, RecordType.AAAA, RecordType.AAAA, RecordType.CNAME, RecordType.MX, RecordType.TXT, RecordType.SRV, RecordType.CAA, RecordType.NS, RecordType.PTR, RecordType.SOA,
        RecordType.DS, RecordType.ANY, (RecordType)65, (RecordType)65280, (RecordType)253, RecordType.None,
    ];

    private readonly List<string> _names = []; // in use, absolute

    public List<JsonObject> Zones { get; } = [];

    public List<JsonObject> Services { get; } = [];

    public void Fill()
    {
        var apexes = s_apexes.Where(_ => random.Next(2) == 0).DefaultIfEmpty("edge.example").ToList();
        foreach (var apex in apexes)
        {
            _names.Add($"{apex}.");
            Zones.Add(Zone(apex, apexes));
        }

        for (var i = random.Next(5); i > 0; i--)
            Services.Add(Service($"s{i}", Cased(Name(apexes[random.Next(apexes.Count)], wildcards: 0))));
    }

    /// <summary>A name that is there, or near one that is, and a type.</summary>
    public (string Name, RecordType Type, RecordClass Class) Question()
    {
        var name = _names[random.Next(_names.Count)];
        if (name[0] == '*' && random.Next(4) > 0)
            name = $"{Label()}{(random.Next(2) == 0 ? "" : ".none")}{name[1..]}";
        switch (random.Next(7))
        {
            case 0:
                name = $"{Label()}.{name}";
                break;
            case 1:
                name = $"{Label()}.none.{name.Replace("*.", "", StringComparison.Ordinal)}";
                break;
            case 2 when name.Count('.') > 1: // an empty non-terminal, or above the zone
                name = name[(name.IndexOf('.', StringComparison.Ordinal) + 1)..];
                break;
            case 3:
                name = $"x{name}";
                break;
        }

        return (Cased(name), s_asked[random.Next(s_asked.Length)], random.Next(40) == 0 ? (RecordClass)(random.Next(2) == 0 ? 4 : 255) : RecordClass.IN); // HS, ANY
    }

    private JsonObject Zone(string apex, List<string> apexes)
    {
        var records = new JsonArray();
        var used = new Dictionary<string, (bool HasAlias, Dictionary<string, int> Ttls)>(StringComparer.OrdinalIgnoreCase);
        for (var i = random.Next(2, 28); i > 0; i--)
        {
            var name = Name(apex, wildcards: 3);
            var type = s_types[random.Next(s_types.Length)];
            var isApex = name.Equals($"{apex}.", StringComparison.OrdinalIgnoreCase);
            if (!used.TryGetValue(name, out var before))
                used[name] = before = (false, []);
            // What a zone cannot have: an alias beside others, wildcards that are delegated, a set with two TTLs.
            if (before.HasAlias || (type == "CNAME" && (isApex || before.Ttls.Count > 0)) || (type == "NS" && (isApex || name[0] == '*')))
                continue;
            used[name] = (type == "CNAME", before.Ttls);
            if (!before.Ttls.TryGetValue(type, out var ttl))
                before.Ttls[type] = ttl = random.Next(3) * 100;
            var data = new JsonArray();
            for (var count = type == "CNAME" ? 1 : random.Next(1, 4); count > 0; count--)
                data.Add(Data(type, apex, apexes));
            records.Add(new JsonObject { ["name"] = Cased(name), ["type"] = type, ["ttl"] = ttl, ["data"] = data });
            _names.Add(name);
        }

        if (random.Next(3) == 0)
        {
            // A circle, through another zone where there is one.
            var (here, there) = ($"ring.{apex}.", $"ring.{apexes[0]}.");
            records.Add(new JsonObject { ["name"] = here, ["type"] = "CNAME", ["data"] = new JsonArray(there) });
            _names.Add(here);
        }

        var soa = new JsonObject { ["minimum"] = random.Next(3) * 150 };
        if (random.Next(3) == 0)
            soa["serial"] = random.Next(1, int.MaxValue);
        return new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = $"z{Zones.Count}", ["uid"] = $"z{Zones.Count}", ["resourceVersion"] = "5", ["generation"] = random.Next(1, 99) },
            ["spec"] = new JsonObject { ["apex"] = apex, ["soa"] = soa, ["nameServers"] = new JsonArray("ns1", "ns2.outside.net."), ["ttl"] = random.Next(1, 500), ["records"] = records },
        };
    }

    private JsonObject Service(string name, string host)
    {
        _names.AddRange(host, host, host); // asked for more often than a record
        return new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = "default", ["uid"] = name, ["resourceVersion"] = "6", ["generation"] = 1 },
            ["spec"] = new JsonObject
            {
                ["hosts"] = new JsonArray(host), ["ttl"] = random.Next(1, 60), ["policy"] = new JsonObject { ["type"] = "multivalue" },
                ["endpoints"] = new JsonArray(new JsonObject { ["name"] = "e", ["addresses"] = random.Next(2) == 0 ? new JsonArray("192.0.2.200", "2001:db8::200") : new JsonArray("192.0.2.201") }),
            },
        };
    }

    private string Data(string type, string apex, List<string> apexes) => type switch
    {
        "A" => $"192.0.2.{random.Next(1, 200)}",
        "AAAA" => $"2001:db8::{random.Next(1, 9999):x}",
        "MX" => $"{random.Next(50)} {Target(apex, apexes)}",
        "TXT" => $"text {random.Next(1000)} With Case",
        "SRV" => $"{random.Next(9)} {random.Next(9)} {random.Next(1, 65535)} {Target(apex, apexes)}",
        "CAA" => "0 issue \"ca.example\"",
        _ => Target(apex, apexes),
    };

    // In this zone, in another one here, at a name that is there, or elsewhere.
    private string Target(string apex, List<string> apexes) => random.Next(8) switch
    {
        0 => "www.outside.net.",
        1 or 2 => Cased(Name(apexes[random.Next(apexes.Count)], wildcards: 0)),
        3 or 4 or 5 => Cased(_names[random.Next(_names.Count)].Replace("*", Label(), StringComparison.Ordinal)),
        _ => Cased(Name(apex, wildcards: 0)),
    };

    private string Name(string apex, int wildcards)
    {
        var labels = Enumerable.Range(0, random.Next(4)).Select(_ => Label()).ToList();
        if (wildcards > 0 && random.Next(wildcards) == 0)
            labels.Insert(0, "*");
        return string.Join('.', labels.Append(apex)) + ".";
    }

    private string Label() => s_labels[random.Next(s_labels.Length)];

    private string Cased(string name) => random.Next(3) > 0 ? name : new string([.. name.Select(letter => random.Next(2) == 0 ? char.ToUpperInvariant(letter) : char.ToLowerInvariant(letter))]);
}

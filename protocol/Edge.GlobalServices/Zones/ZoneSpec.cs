using Edge.GlobalServices.Resources;
using System.Globalization;
using System.Net;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Protocol.Dns;

namespace Edge.GlobalServices.Zones;

/// <summary>A Zone as its manifest says; the names of GlobalServices are added later.</summary>
/// <param name="Apex">Canonical.</param>
/// <param name="Taken">Canonical names with A, AAAA or CNAME records of their own.</param>
/// <param name="Delegated">Canonical names below the apex with NS records: what is there and below is others' to answer.</param>
internal sealed record ZoneSpec(string Name, string Apex, ZoneSource Source, IReadOnlySet<string> Taken, IReadOnlySet<string> Delegated)
{
    private const int RecordsMax = 100_000;

    private static readonly RecordType[] s_types =
        [RecordType.A, RecordType.AAAA, RecordType.CNAME, RecordType.MX, RecordType.TXT, RecordType.SRV, RecordType.CAA, RecordType.NS, RecordType.PTR];

    /// <summary>Reads the object; null with problems where it cannot be used.</summary>
    public static ZoneSpec? Read(JsonObject obj, out IReadOnlyList<string> problems)
    {
        var reader = new SpecReader();
        var spec = obj.At("spec");
        var apexText = reader.Text(spec, "spec", "apex");
        if (HostName.Problem(apexText, allowWildcard: false) is { } problem)
        {
            reader.Problem("spec.apex", problem);
            problems = reader.Problems;
            return null;
        }

        var apex = DnsName.Parse(HostName.Canonical(apexText) + ".");
        var ttl = (uint)reader.Int(spec, "spec", "ttl", 300, 0, int.MaxValue);
        var records = new List<ZoneRecord>();
        ReadSoa(reader, obj, spec, apex, ttl, records);
        var servers = spec.Texts("nameServers").ToList();
        if (servers.Count == 0)
            reader.Problem("spec.nameServers", "is empty; name the servers of the zone, e.g. [ns1]");
        for (var i = 0; i < servers.Count; i++)
            Add(reader, records, apex, apex, RecordType.NS, ttl, servers[i], $"spec.nameServers[{i}]");
        var (taken, delegated) = (new HashSet<string>(StringComparer.Ordinal), new HashSet<string>(StringComparer.Ordinal));
        foreach (var (item, i) in spec.Items("records").Select((item, i) => (item, i)))
            ReadRecord(reader, item, $"spec.records[{i}]", apex, ttl, records, taken, delegated);
        if (records.Count > RecordsMax)
            reader.Problem("spec.records", $"has {records.Count} records, a Zone takes at most {RecordsMax}");
        if (!NetworkList.TryParse(spec.Texts("transfer", "allow"), out var acl, out var error))
            reader.Problem("spec.transfer.allow", error);
        var notify = new List<IPEndPoint>();
        foreach (var (text, i) in spec.Texts("notify").Select((text, i) => (text, i)))
        {
            if (IPEndPoint.TryParse(text, out var target))
                notify.Add(target.Port == 0 ? new IPEndPoint(target.Address, 53) : target);
            else
                reader.Problem($"spec.notify[{i}]", $"'{text}' is not an address with or without port, e.g. 192.0.2.53 or [2001:db8::53]:5353");
        }

        problems = reader.Problems;
        return problems.Count > 0 ? null
            : new ZoneSpec(obj.Name(), HostName.Canonical(apexText), new ZoneSource { Apex = apex, Records = records, TransferAcl = acl, NotifyTargets = notify }, taken, delegated);
    }

    /// <summary>The delegation at or above a canonical name of the zone; null where the name is the zone's own.</summary>
    public string? DelegationOf(string host)
    {
        for (var name = host; name.Length > Apex.Length; name = name[(name.IndexOf('.', StringComparison.Ordinal) + 1)..])
        {
            if (Delegated.Contains(name))
                return name;
            if (!name.Contains('.', StringComparison.Ordinal))
                break;
        }

        return null;
    }

    private static void ReadSoa(SpecReader reader, JsonObject obj, JsonNode? spec, DnsName apex, uint ttl, List<ZoneRecord> records)
    {
        var soa = spec.At("soa");
        var text = string.Create(
            CultureInfo.InvariantCulture,
            $"{Or(reader.Text(soa, "spec.soa", "primary"), "ns1")} {Or(reader.Text(soa, "spec.soa", "mailbox"), "hostmaster")} {ZoneSerial.Of(obj)} {reader.Int(soa, "spec.soa", "refresh", 3600, 1, int.MaxValue)} {reader.Int(soa, "spec.soa", "retry", 600, 1, int.MaxValue)} {reader.Int(soa, "spec.soa", "expire", 604_800, 1, int.MaxValue)} {reader.Int(soa, "spec.soa", "minimum", 60, 0, int.MaxValue)}");
        Add(reader, records, apex, apex, RecordType.SOA, ttl, text, "spec.soa");

        static string Or(string text, string absent) => text.Length > 0 ? text : absent;
    }

    private static void ReadRecord(SpecReader reader, JsonObject item, string path, DnsName apex, uint ttl, List<ZoneRecord> records, HashSet<string> taken, HashSet<string> delegated)
    {
        var text = reader.Text(item, path, "name", "@");
        if (text != "@" && HostName.Problem(text, allowWildcard: true) is { } problem)
        {
            reader.Problem($"{path}.name", problem);
            return;
        }

        var full = text == "@" ? apex.ToString() : text.EndsWith('.') ? text : apex.IsRoot ? $"{text}." : $"{text}.{apex}";
        if (!DnsName.TryParse(full, out var name))
        {
            reader.Problem($"{path}.name", $"'{full}' is longer than the 255 octets of a name");
            return;
        }

        if (!name.IsAtOrBelow(apex))
        {
            reader.Problem($"{path}.name", $"'{text}' is outside of the zone {apex}; write it without the final dot to put it below");
            return;
        }

        if (!RecordData.TryParseType(reader.Text(item, path, "type"), out var type) || !s_types.Contains(type))
        {
            reader.Problem($"{path}.type", $"is '{item.Text("type")}', must be {string.Join(", ", s_types.Select(RecordData.TypeName))}");
            return;
        }

        if (type is RecordType.A or RecordType.AAAA or RecordType.CNAME)
            taken.Add(HostName.Canonical(full));
        else if (type == RecordType.NS && !name.Equals(apex))
            delegated.Add(HostName.Canonical(full));
        var data = item.Texts("data").ToList();
        if (data.Count == 0)
            reader.Problem($"{path}.data", "is empty; give a list of texts, e.g. [192.0.2.1]");
        if (type == RecordType.CNAME && data.Count > 1)
            reader.Problem($"{path}.data", "a CNAME has one target");
        var own = (uint)reader.Int(item, path, "ttl", (int)Math.Min(ttl, int.MaxValue), 0, int.MaxValue);
        for (var i = 0; i < data.Count; i++)
            Add(reader, records, name, apex, type, own, data[i], $"{path}.data[{i}]");
    }

    private static void Add(SpecReader reader, List<ZoneRecord> records, DnsName name, DnsName apex, RecordType type, uint ttl, string text, string path)
    {
        // A text without quotes is one string, whatever blanks it has.
        if (type == RecordType.TXT && !text.StartsWith('"'))
            text = $"\"{text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)}\"";
        if (RecordData.TryParse(type, text, apex, out var data, out var error))
            records.Add(new ZoneRecord(name, type, ttl, data));
        else
            reader.Problem(path, $"'{(text.Length > 80 ? text[..80] + "..." : text)}': {error}");
    }
}

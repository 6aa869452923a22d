using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using Edge.Protocol.Dns;

namespace Edge.GlobalServices.Zones;

/// <summary>Turns a zone's records into nodes, and says what cannot be served.</summary>
internal static class ZoneCompiler
{
    public static bool TryCompile(ZoneSource source, List<ZoneError> errors, [NotNullWhen(true)] out Zone? zone)
    {
        var before = errors.Count;
        var made = new Zone(source);
        var nodes = new Dictionary<DnsName, ZoneNode>();
        made.ApexNode = Node(made, nodes, source.Apex);
        CheckRecords(source, errors);
        if (errors.Count == before)
        {
            foreach (var name in source.Records.GroupBy(record => record.Name))
                Node(made, nodes, name.Key).Sets = Sets(source, name, errors);
            foreach (var service in source.Services)
                Bind(made, nodes, service, errors);
        }

        if (errors.Count == before)
            CheckNodes(made, nodes, errors);
        zone = errors.Count == before ? made : null;
        if (zone is null)
            return false;

        zone.Soa = zone.ApexNode.Find(RecordType.SOA)!;
        var minimum = BinaryPrimitives.ReadUInt32BigEndian(zone.Soa.Data[0].AsSpan(zone.Soa.Data[0].Length - 4));
        zone.NegativeSoa = new RecordSet(RecordType.SOA, Math.Min(zone.Soa.Ttl, minimum), zone.Soa.Data);
        Link(zone, nodes);
        return true;
    }

    /// <summary>All nodes that are looked up. What a zone has at or below the apex of another zone here is the other's (RFC 1034 §4.3.2, step 2: the nearest zone).</summary>
    public static List<ZoneNode> Join(Dictionary<DnsName, Zone> zones)
    {
        var nodes = new List<ZoneNode>();
        foreach (var zone in zones.Values)
        {
            foreach (var node in zone.Nodes)
            {
                if (Owner(zones, node.Name) == zone)
                    nodes.Add(node);
                else if (zones.TryGetValue(node.Name, out var child))
                    child.ApexNode.ParentSide ??= ParentOf(zones, child) == zone ? node : null;
            }
        }

        foreach (var zone in zones.Values)
        {
            if (zone.ApexNode.ParentSide is null && ParentOf(zones, zone) is { } parent)
                zone.ApexNode.ParentSide = new ZoneNode(parent, zone.Apex);
        }

        return nodes;
    }

    private static Zone Owner(Dictionary<DnsName, Zone> zones, DnsName name)
    {
        for (; ; name = name.Parent())
        {
            if (zones.TryGetValue(name, out var zone))
                return zone;
        }
    }

    private static Zone? ParentOf(Dictionary<DnsName, Zone> zones, Zone zone)
    {
        for (var name = zone.Apex; !name.IsRoot;)
        {
            name = name.Parent();
            if (zones.TryGetValue(name, out var parent))
                return parent;
        }

        return null;
    }

    private static void CheckRecords(ZoneSource source, List<ZoneError> errors)
    {
        void Wrong(string message) => errors.Add(new ZoneError(source.Apex, message));
        foreach (var record in source.Records)
        {
            var what = $"{record.Name} {RecordData.TypeName(record.Type)}";
            if (!record.Name.IsAtOrBelow(source.Apex))
                Wrong($"{what}: the name is not in the zone {source.Apex}; a name without a final dot is below the apex");
            if (record.Type is RecordType.None or RecordType.OPT or RecordType.DNAME || (ushort)record.Type is >= 128 and <= 255)
                Wrong($"{what}: records of this type are not served");
            else if (record.Data.Length > DnsLimits.Message - 1024 || !RecordData.IsWellFormed(record.Type, record.Data))
                Wrong($"{what}: the data is malformed");
            if (record.Ttl > int.MaxValue)
                Wrong($"{what}: the TTL {record.Ttl} is over {int.MaxValue} s (RFC 2181 §8)");
            if (record.Type == RecordType.SOA && !record.Name.Equals(source.Apex))
                Wrong($"{what}: SOA belongs to the apex {source.Apex}");
            if (record.Type == RecordType.NS && record.Name.IsWildcard)
                Wrong($"{what}: a wildcard cannot be delegated (RFC 4592 §4.2)");
        }

        if (source.Records.Where(record => record.Type == RecordType.SOA).Select(record => Convert.ToHexString(record.Data)).Distinct().Count() != 1)
            Wrong("a zone has exactly one SOA record");
        if (!source.Records.Any(record => record.Type == RecordType.NS && record.Name.Equals(source.Apex)))
            Wrong("a zone has at least one NS record at its apex");
    }

    private static RecordSet[] Sets(ZoneSource source, IGrouping<DnsName, ZoneRecord> name, List<ZoneError> errors)
    {
        var sets = new List<RecordSet>();
        foreach (var type in name.GroupBy(record => record.Type))
        {
            var ttls = type.Select(record => record.Ttl).Distinct().ToArray();
            if (ttls.Length > 1)
                errors.Add(new ZoneError(source.Apex, $"{name.Key} {RecordData.TypeName(type.Key)}: records with different TTLs ({string.Join(", ", ttls)}); give them one (RFC 2181 §5.2)"));
            byte[][] data = [.. type.Select(record => record.Data).DistinctBy(Convert.ToHexString)];
            if (data.Sum(one => one.Length + 12) > DnsLimits.Message - 1024)
                errors.Add(new ZoneError(source.Apex, $"{name.Key} {RecordData.TypeName(type.Key)}: {data.Length} records are more than a message holds"));
            sets.Add(new RecordSet(type.Key, ttls[0], data));
        }

        return [.. sets];
    }

    private static void Bind(Zone zone, Dictionary<DnsName, ZoneNode> nodes, ZoneService service, List<ZoneError> errors)
    {
        if (!service.Name.IsAtOrBelow(zone.Apex))
        {
            errors.Add(new ZoneError(zone.Apex, $"the service name {service.Name} is not in the zone {zone.Apex}"));
            return;
        }

        var node = Node(zone, nodes, service.Name);
        if (node.Service >= 0 && node.Service != service.Service)
            errors.Add(new ZoneError(zone.Apex, $"{service.Name} belongs to two global services; remove the name from one"));
        node.Service = service.Service;
    }

    private static void CheckNodes(Zone zone, Dictionary<DnsName, ZoneNode> nodes, List<ZoneError> errors)
    {
        void Wrong(string message) => errors.Add(new ZoneError(zone.Apex, message));
        foreach (var node in nodes.Values)
        {
            if (node.Find(RecordType.CNAME) is { } alias)
            {
                // RFC 2181 §10.1, RFC 1034 §3.6.2; the apex has SOA and NS always.
                if (node.Sets.Length > 1 || node.Service >= 0)
                    Wrong($"{node.Name}: CNAME stands beside other records{(node == zone.ApexNode ? " (the apex has SOA and NS)" : "")}; a name with CNAME has nothing else");
                else if (alias.Data.Length > 1)
                    Wrong($"{node.Name}: {alias.Data.Length} CNAME records; a name has one");
            }

            if (node.Service >= 0 && (node.Find(RecordType.A) ?? node.Find(RecordType.AAAA)) is { } address)
                Wrong($"{node.Name}: {address.Type} records beside a global service, which gives the addresses; remove one of them");
            if (node.Service >= 0 && node != zone.ApexNode && node.Find(RecordType.NS) is not null)
                Wrong($"{node.Name}: a delegated name cannot be a global service's");
        }
    }

    private static void Link(Zone zone, Dictionary<DnsName, ZoneNode> nodes)
    {
        // Fewer labels first: a node's parent knows its cut by then.
        foreach (var node in nodes.Values.OrderBy(node => WireName.CountLabels(node.Name.Wire)))
        {
            zone.Nodes.Add(node);
            if (node == zone.ApexNode)
                continue;
            var parent = nodes[node.Name.Parent()];
            node.Cut = parent.Cut ?? (node.Find(RecordType.NS) is null ? null : node);
            if (node.Name.IsWildcard)
                parent.Wildcard = node;
        }

        foreach (var owner in nodes.Values)
        {
            if (owner.Find(RecordType.NS) is not { } set)
                continue;
            set.Glue = [.. set.Data
                .Select(DnsName (data) => DnsName.FromWire(data))
                .Where(target => nodes.TryGetValue(target, out var node) && (node.Find(RecordType.A) ?? node.Find(RecordType.AAAA)) is not null)
                .Select(target => new Glue(nodes[target], target.IsAtOrBelow(owner.Name)))];
        }
    }

    // The name's node, with those of all names up to the apex: empty non-terminals exist (RFC 8020).
    private static ZoneNode Node(Zone zone, Dictionary<DnsName, ZoneNode> nodes, DnsName name)
    {
        if (nodes.TryGetValue(name, out var node))
            return node;
        node = new ZoneNode(zone, name);
        nodes.Add(name, node);
        if (!name.Equals(zone.Apex))
            Node(zone, nodes, name.Parent());
        return node;
    }
}

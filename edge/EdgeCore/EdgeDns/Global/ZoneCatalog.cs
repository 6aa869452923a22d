using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Core.MetaManager;
using Edge.GlobalServices.Zones;
using Edge.Kubernetes;
using Edge.Protocol.Dns;
using Edge.Protocol.Messages;

namespace Edge.Core.EdgeDns.Global;

/// <summary>The Zones that CloudCore sent, compiled as there: their static records are answered here from the last known state. Changes come from one task; answers take the newest state without
/// waiting.</summary>
/// <remarks>Not authoritative (no AA): nobody here knows how old the copy is. What a zone delegates is asked of the upstreams, and an alias is followed by whoever asks.</remarks>
/// <param name="recordsMax">Records of all zones together; zones beyond it, by name, are asked of the upstreams.</param>
/// <param name="leftOut">Told of the zones that are not answered here and why, when that changes.</param>
internal sealed class ZoneCatalog(int recordsMax, Action<string> leftOut)
{
    /// <summary>About 50 MB of memory.</summary>
    public const int RecordsMaxDefault = 100_000;

    private readonly SortedDictionary<string, ZoneSource> _held = new(StringComparer.Ordinal); // by the object's name
    private readonly SortedDictionary<string, (DnsName Apex, string Problem)> _bad = new(StringComparer.Ordinal); // the newest state of these does not compile
    private volatile State _state = new(ZoneSet.Empty, []);
    private string _leftOut = "";
    private bool _isChanged;

    /// <summary>Zones that are answered.</summary>
    public int Count => _state.Zones.ZoneCount;

    /// <summary>Takes a change of the store; it counts from <see cref="Publish"/> on. What cannot be read, or does not compile, leaves the last good state.</summary>
    public void Take(MetaChange change)
    {
        var (obj, deleted) = change;
        if (obj.Type != ResourceTypes.Zone)
            return;
        var source = deleted ? null : Read(obj);
        if (source is null && !deleted)
            return;
        _isChanged = true;
        if (source is not null && ZoneSet.Compile([source], out var errors).ZoneCount == 0)
        {
            _bad[obj.Name] = (source.Apex, string.Join("; ", errors.Select(error => error.Message)));
            return;
        }

        _bad.Remove(obj.Name);
        if (source is null)
            _held.Remove(obj.Name);
        else
            _held[obj.Name] = source;
    }

    /// <summary>Answers from what was taken, from now on. Compiles all zones, so many changes are taken before it.</summary>
    public void Publish()
    {
        if (!_isChanged)
            return;
        _isChanged = false;
        var (taken, room, reasons, others) = (new List<ZoneSource>(), recordsMax, new List<string>(), new List<DnsName>());
        foreach (var (name, source) in _held)
        {
            if (source.Records.Count > room)
            {
                reasons.Add($"{name}: {source.Records.Count} records are more than the {room} left of {recordsMax}");
                others.Add(source.Apex);
                continue;
            }

            room -= source.Records.Count;
            taken.Add(source);
        }

        foreach (var (name, (apex, problem)) in _bad)
        {
            var isServed = _held.ContainsKey(name);
            reasons.Add($"{name}: {problem}{(isServed ? "; it is answered as it was before" : "")}");
            if (!isServed)
                others.Add(apex);
        }

        _state = new State(ZoneSet.Compile(taken, out var errors), [.. others]);
        reasons.AddRange(errors.Select(error => $"{error.Apex}: {error.Message}"));
        var text = string.Join("; ", reasons);
        if (text != _leftOut && text.Length > 0)
            leftOut(text);
        _leftOut = text;
    }

    /// <summary>The answer; null where others are to be asked: names in no zone here, and those that a zone delegates.</summary>
    /// <param name="chosen">Answers for the addresses of a GlobalService, by its host and the question; null where it does not know them.</param>
    public DnsAnswer? Answer(DnsQuestion question, Func<DnsName, DnsQuestion, DnsAnswer?> chosen)
    {
        var state = _state;
        if (!TryFind(state.Zones, question.Name, out var node, out var isExact))
            return null;
        // A zone that is left out is not the one's above it to deny.
        foreach (var apex in state.Others)
        {
            if (question.Name.IsAtOrBelow(apex) && apex.IsAtOrBelow(node.Zone.Apex) && !apex.Equals(node.Zone.Apex))
                return null;
        }

        if (question.Type == RecordType.DS && isExact && node.ParentSide is { } parentSide)
            node = parentSide;
        if (node.Cut is { } cut && !(question.Type == RecordType.DS && isExact && cut == node))
            return null;
        if (!isExact)
        {
            if (node.Wildcard is null)
                return Negative(ResponseCode.NameError, node.Zone);
            node = node.Wildcard;
        }

        if (node.Service >= 0 && question.Type is RecordType.A or RecordType.AAAA)
            return chosen(node.Name, question);
        var alias = question.Type is RecordType.CNAME or RecordType.ANY ? null : node.Find(RecordType.CNAME);
        // RFC 8482 §4.1: for ANY one set is enough.
        var set = alias ?? (question.Type == RecordType.ANY ? node.Sets.FirstOrDefault() : node.Find(question.Type));
        return set is null ? Negative(ResponseCode.NoError, node.Zone)
            : new DnsAnswer(ResponseCode.NoError, [.. set.Data.Select(data => new DnsRow(question.Name, set.Type, set.Ttl, data))], []);
    }

    /// <summary>The SOA record of what is not there in the zone of a name; null where the zone is not here.</summary>
    public DnsRow? SoaOf(DnsName name) => TryFind(_state.Zones, name, out var node, out _) ? Soa(node.Zone) : null;

    private static bool TryFind(ZoneSet zones, DnsName name, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out ZoneNode? node, out bool isExact)
    {
        Span<byte> lower = stackalloc byte[DnsLimits.Name];
        WireName.ToLower(name.Wire, lower);
        return zones.TryFindClosest(lower[..name.Wire.Length], out node, out isExact);
    }

    private static ZoneSource? Read(MetaObject obj)
    {
        try
        {
            if (JsonNode.Parse(obj.Json.Span) is not JsonObject json || ZoneSpec.Read(json, out _) is not { } spec)
                return null;
            // All have number 0: which service it is GlobalServiceCatalog knows, by the name.
            var hosts = json.Texts("resolved", "hosts").Select(host => DnsName.TryParse(host, out var name) ? name : null).OfType<DnsName>().Where(name => name.IsAtOrBelow(spec.Source.Apex));
            return new ZoneSource { Apex = spec.Source.Apex, Records = spec.Source.Records, Services = [.. hosts.Select(name => new ZoneService(name, 0))] };
        }
        catch (JsonException)
        {
            return null; // stored by this house from the cloud's message, which was JSON: nothing is known of a damaged one
        }
    }

    private static DnsAnswer Negative(ResponseCode code, Zone zone) => new(code, [], [Soa(zone)]);

    private static DnsRow Soa(Zone zone) => new(zone.Apex, RecordType.SOA, zone.NegativeSoa.Ttl, zone.NegativeSoa.Data[0]);

    /// <param name="Others">Apexes of zones that were sent and are not answered here.</param>
    private sealed record State(ZoneSet Zones, DnsName[] Others);
}

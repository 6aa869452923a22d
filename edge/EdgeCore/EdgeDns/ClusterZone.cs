using System.Net;
using System.Net.Sockets;
using Edge.Protocol.Dns;

namespace Edge.Core.EdgeDns;

/// <summary>The cluster's own names: Kubernetes' DNS-Based Service Discovery, version 1.1. Pure.</summary>
/// <remarks>A Service whose traffic stays on the node or in the NodeGroup gives the endpoints there, since no clusterIP keeps it there on a node without kube-proxy; so does every
/// Service with <paramref name="answersWithEndpoints"/>.</remarks>
/// <param name="domain">The cluster's domain, lower case, without dots at its ends.</param>
/// <param name="ttl">Seconds, of answers and of their absence.</param>
internal sealed class ClusterZone(string domain, uint ttl, bool answersWithEndpoints)
{
    /// <summary>The version of the specification that is followed.</summary>
    public const string SchemaVersion = "1.1.0";

    private readonly DnsName _apex = DnsName.Parse(domain);

    /// <summary>True for names that nobody else may answer.</summary>
    public bool Owns(DnsName name) => name.IsAtOrBelow(_apex);

    /// <summary>The answer; null when the question is not about this cluster (then others are asked).</summary>
    public DnsAnswer? Answer(DnsQuestion question, ServiceCatalog catalog)
    {
        if (!Owns(question.Name))
            return question.Type == RecordType.PTR && ReverseName.TryRead(question.Name, out var address) ? Reverse(question.Name, address, catalog) : null;
        if (!catalog.IsFilled)
            return DnsAnswer.Failed; // NXDOMAIN would be remembered
        var text = question.Name.ToString().ToLowerInvariant();
        var below = text.Length > domain.Length + 1 ? text[..(text.Length - domain.Length - 2)] : "";
        var labels = below.Length == 0 ? [] : below.Split('.');
        var found = Find(labels, catalog, question.Name);
        if (found is null)
            return Absent(ResponseCode.NameError);
        var rows = new List<DnsRow>();
        foreach (var row in found)
        {
            // RFC 8482: nobody needs all.
            if (row.Type == question.Type || row.Type == RecordType.CNAME || (question.Type == RecordType.ANY && rows.Count == 0))
                rows.Add(row);
        }

        if (rows.Count == 0)
            return Absent(ResponseCode.NoError);
        return new DnsAnswer(ResponseCode.NoError, rows, [], IsAuthoritative: true) { Additional = question.Type == RecordType.SRV ? Glue(rows, catalog) : [] };
    }

    /// <summary>The dashed form of an address, e.g. <c>10-0-0-7</c>, <c>2001-db8--1</c>.</summary>
    public static string Dashed(IPAddress address) => address.ToString().Replace('.', '-').Replace(':', '-');

    // All records at the name; empty when it only has others below it; null when there is no such name.
    private List<DnsRow>? Find(string[] labels, ServiceCatalog catalog, DnsName name) => labels switch
    {
        [] => [Soa(), DnsRow.Name(name, RecordType.NS, ttl, DnsName.Parse($"ns.dns.{domain}"))],
        ["dns-version"] => [DnsRow.Text(name, ttl, SchemaVersion)],
        ["svc"] or ["pod"] => [],
        [var space, "svc"] => catalog.HasNamespace(space) ? [] : null,
        [_, "pod"] => [],
        [var pod, _, "pod"] => Pod(pod, name),
        [var service, var space, "svc"] => OfService(service, space, catalog, name),
        [['_', ..] protocol, var service, var space, "svc"] when catalog.Service(space, service) is { } entry => entry.Ports.Any(port => $"_{port.Protocol}" == protocol) ? [] : null,
        [var host, var service, var space, "svc"] => OfEndpoint(host, service, space, catalog, name),
        [['_', ..] port, ['_', ..] protocol, var service, var space, "svc"] => Srv(port[1..], protocol[1..], service, space, catalog, name),
        _ => null,
    };

    private List<DnsRow>? OfService(string service, string space, ServiceCatalog catalog, DnsName name)
    {
        if (catalog.Service(space, service) is not { } entry)
            return null;
        if (entry.ExternalName.Length > 0)
            return DnsName.TryParse(entry.ExternalName, out var target) ? [DnsRow.Name(name, RecordType.CNAME, ttl, target)] : [];
        if (!IsByEndpoints(entry))
            return [.. entry.ClusterAddresses.Select(address => DnsRow.Address(name, ttl, address))];
        var rows = Ready(entry, catalog).Select(endpoint => endpoint.Address).Distinct().Select(address => DnsRow.Address(name, ttl, address)).ToList();
        // Specification 2.4.1: a headless Service without ready endpoints is NXDOMAIN. One that only its scope leaves without is there, and has none here.
        return rows.Count == 0 && entry.IsHeadless && entry.Scope == ServiceScope.Cluster ? null : rows;
    }

    private List<DnsRow>? OfEndpoint(string host, string service, string space, ServiceCatalog catalog, DnsName name)
    {
        if (catalog.Service(space, service) is not { ExternalName.Length: 0 } entry)
            return null;
        var rows = Ready(entry, catalog).Where(endpoint => HostOf(endpoint) == host).Select(endpoint => endpoint.Address).Distinct().Select(address => DnsRow.Address(name, ttl, address)).ToList();
        return rows.Count == 0 ? null : rows;
    }

    private List<DnsRow>? Srv(string port, string protocol, string service, string space, ServiceCatalog catalog, DnsName name)
    {
        if (catalog.Service(space, service) is not { ExternalName.Length: 0 } entry || port.Length == 0)
            return null;
        var rows = new List<DnsRow>();
        if (!IsByEndpoints(entry))
        {
            rows.AddRange(entry.Ports.Where(one => one.Name == port && one.Protocol == protocol).Select(one => DnsRow.Srv(name, ttl, 0, 100, (ushort)one.Port, NameOf(entry))));
        }
        else
        {
            var found = Ready(entry, catalog).SelectMany(endpoint => endpoint.Ports.Where(one => one.Name == port && one.Protocol == protocol).Select(one => (one.Port, Host: HostOf(endpoint)))).Distinct().ToList();
            var weight = (ushort)(found.Count == 0 ? 0 : Math.Max(1, 100 / found.Count));
            foreach (var (number, host) in found)
            {
                if (DnsName.TryParse($"{host}.{NameOf(entry)}", out var target))
                    rows.Add(DnsRow.Srv(name, ttl, 0, weight, (ushort)number, target));
            }
        }

        return rows.Count == 0 ? null : rows;
    }

    // As CoreDNS' "pods insecure", kubeadm's setting: the address is in the name, and whether the pod lives is not looked up.
    private List<DnsRow>? Pod(string dashed, DnsName name)
    {
        var dots = dashed.Split('-');
        if (dots.Length == 4 && dots.All(part => byte.TryParse(part, System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out _)))
            return [DnsRow.Address(name, ttl, IPAddress.Parse(string.Join('.', dots.Select(part => byte.Parse(part, System.Globalization.CultureInfo.InvariantCulture)))))];
        return IPAddress.TryParse(dashed.Replace('-', ':'), out var address) && address.AddressFamily == AddressFamily.InterNetworkV6 ? [DnsRow.Address(name, ttl, address)] : null;
    }

    private DnsAnswer? Reverse(DnsName name, IPAddress address, ServiceCatalog catalog)
    {
        var rows = new List<DnsRow>();
        foreach (var service in catalog.ServicesAt(address))
        {
            if (service.ClusterAddresses.Contains(address))
                rows.Add(DnsRow.Name(name, RecordType.PTR, ttl, NameOf(service)));
            else if (Ready(service, catalog).FirstOrDefault(endpoint => endpoint.Address.Equals(address)) is { } endpoint && DnsName.TryParse($"{HostOf(endpoint)}.{NameOf(service)}", out var target))
                rows.Add(DnsRow.Name(name, RecordType.PTR, ttl, target));
        }

        // Another address may still be known to others.
        return rows.Count == 0 ? null : new DnsAnswer(ResponseCode.NoError, rows, [], IsAuthoritative: true);
    }

    private List<DnsRow> Glue(List<DnsRow> rows, ServiceCatalog catalog)
    {
        var glue = new List<DnsRow>();
        foreach (var target in rows.Select(row => DnsName.FromWire(row.Data.Span[6..])).Distinct())
        {
            foreach (var type in (RecordType[])[RecordType.A, RecordType.AAAA])
                glue.AddRange(Answer(new DnsQuestion(target, type), catalog)?.Answers ?? []);
        }

        return glue;
    }

    private bool IsByEndpoints(ServiceEntry service) => service.IsHeadless || answersWithEndpoints || service.Scope != ServiceScope.Cluster;

    private static IEnumerable<EndpointEntry> Ready(ServiceEntry service, ServiceCatalog catalog)
        => catalog.Endpoints(service.Namespace, service.Name).Where(endpoint => (endpoint.IsReady || service.PublishNotReady) && service.Scope switch
        {
            ServiceScope.Node => endpoint.Node == catalog.Node,
            ServiceScope.NodeGroup => endpoint.Group == catalog.Group,
            _ => true,
        });

    private static string HostOf(EndpointEntry endpoint) => endpoint.Hostname.Length > 0 ? endpoint.Hostname : Dashed(endpoint.Address);

    private DnsName NameOf(ServiceEntry service) => DnsName.Parse($"{service.Name}.{service.Namespace}.svc.{domain}");

    // RFC 2308 §3: the SOA says how long the absence may be remembered.
    private DnsAnswer Absent(ResponseCode code) => new(code, [], [Soa()], IsAuthoritative: true);

    private DnsRow Soa()
    {
        if (!RecordData.TryParse(RecordType.SOA, $"ns.dns.{domain}. hostmaster.{domain}. 1 7200 1800 86400 {ttl}", DnsName.Root, out var data, out var error))
            throw new System.Diagnostics.UnreachableException(error);
        return new DnsRow(_apex, RecordType.SOA, ttl, data);
    }
}

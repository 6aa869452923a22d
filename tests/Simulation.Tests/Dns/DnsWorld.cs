using System.Text.Json.Nodes;
using Edge.Cloud.EdgeController;
using Edge.Cloud.Gslb.Module;
using Edge.Cloud.Gslb.Zones;
using Edge.Cloud.SyncController;
using Edge.Core.Configuration;
using Edge.Core.EdgeDns;
using Edge.Core.EdgeDns.Global;
using Edge.Core.MetaManager;
using Edge.GlobalServices.Resources;
using Edge.Kubernetes;
using Edge.Protocol.Dns;
using Edge.Protocol.Messages;
using Xunit;

namespace Edge.Simulation.Tests.Dns;

/// <summary>The same objects in CloudCore's authority and, by the way that they travel, in a node's resolver. Both are asked by bytes; there is no socket between.</summary>
internal sealed class DnsWorld
{
    private static readonly DnsRequest s_request = new(DnsRequest.Map(0xc6336407), 4000, IsTcp: true, UnixMs: 0);
    private readonly AuthoritativeResponder _cloud = new(new AuthoritativeOptions());
    private readonly Resolver _node;
    private readonly byte[] _buffer = new byte[DnsLimits.Message];

    public DnsWorld(IReadOnlyList<JsonObject> zones, IReadOnlyList<JsonObject> services)
    {
        var builder = new GslbBuilder();
        foreach (var zone in zones)
            builder.Put(GslbKinds.Zone, zone);
        foreach (var service in services)
            builder.Put(GslbKinds.GlobalService, service);
        var snapshot = builder.Build();
        _cloud.Serve(snapshot.Zones, snapshot.Selector);

        var (known, catalog) = (new GlobalServiceCatalog("n1"), new ZoneCatalog(ZoneCatalog.RecordsMaxDefault, LeftOut.Add));
        foreach (var zone in zones)
        {
            var status = snapshot.Statuses[(GslbKinds.Zone.Kind, zone.Name())];
            Assert.True(status is { IsAccepted: true, IsReady: true }, $"{status.Message}: {zone.ToJsonString()}"); // else the test is of no use
            catalog.Take(Down(ZonePlacement.Create(), zone, status));
        }

        foreach (var service in services)
        {
            var status = snapshot.Statuses[(GslbKinds.GlobalService.Kind, $"{service.Namespace()}/{service.Name()}")];
            Assert.True(status.IsAccepted, $"{status.Message}: {service.ToJsonString()}"); // its host may be taken
            known.Take(Down(GlobalServicePlacement.Create(), service, status));
        }

        catalog.Publish();
        var counters = new EdgeDnsCounters();
        var forwarder = new Forwarder(new EdgeDnsOptions(), new NoUpstream(), TimeProvider.System, new Random(1), counters, (_, _) => { }, _ => { }, CancellationToken.None);
        _node = new Resolver(new ClusterZone("cluster.local", 5, answersWithEndpoints: false), () => ServiceCatalog.Empty, known, catalog, forwarder, new Random(1), counters);
    }

    /// <summary>Zones that the node does not answer, with reasons.</summary>
    public List<string> LeftOut { get; } = [];

    public byte[] AskCloud(byte[] query) => _buffer[.._cloud.Respond(query, s_request, _buffer)];

    /// <param name="isForwarded">Whether the node would ask its upstreams. It has none, so the code is REFUSED then, behind the aliases that it followed itself.</param>
    public byte[] AskNode(byte[] query, out bool isForwarded)
    {
        var answer = _node.TryResolve(query, isTcp: true, out var question);
        isForwarded = answer is null;
        return answer ?? _node.ResolveAsync(query, isTcp: true, question).GetAwaiter().GetResult(); // ends at once: there is nobody to wait for
    }

    // With its status as the module writes it, through what cuts it for edges.
    private static MetaChange Down(SharedPlacement placement, JsonObject obj, ObjectStatus status)
    {
        var whole = obj.DeepClone().AsObject();
        whole["status"] = new JsonObject
        {
            ["conditions"] = new JsonArray(new JsonObject { ["type"] = "Ready", ["status"] = status.IsReady ? "True" : "False" }),
            ["hosts"] = new JsonArray([.. status.Hosts.Select(host => (JsonNode)host)]),
            ["endpoints"] = new JsonArray([.. status.Endpoints.Select(endpoint => (JsonNode)endpoint.ToJson())]),
        };
        var outputs = new List<PlacementOutput>();
        placement.Changed(new ObjectChange(ChangeType.Added, whole, null), outputs);
        var sent = Assert.IsType<PlacementOutput.DeliverToAll>(Assert.Single(outputs)).Object;
        Assert.True(ResourcePath.TryParse(sent.Resource, out var path));
        return new MetaChange(new MetaObject(sent.Resource, path.Type, path.Namespace, path.Name, sent.Uid, sent.Version, sent.Body.Content.Utf8), Deleted: false);
    }

    private sealed class NoUpstream : IUpstreamClient
    {
        public Task<DnsAnswer> AskAsync(System.Net.IPEndPoint upstream, DnsQuestion question, CancellationToken cancellationToken) => throw new UpstreamException("there is none");
    }
}

using System.Text.Json.Nodes;
using Edge.Cloud.EdgeController;
using Edge.Cloud.Observability;
using Edge.Cloud.SyncController;
using Edge.Cloud.Tests.Support;
using Edge.GlobalServices.Resources;
using Edge.Kubernetes;
using Edge.Protocol.Sync;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Cloud.Tests;

/// <summary>What of Services and EndpointSlices goes to edges, and to which.</summary>
[Trait("Category", "Dns")]
public sealed class ServicePlacementTests : IAsyncLifetime
{
    private readonly ManualTimeProvider _time = new(DateTimeOffset.UnixEpoch);
    private readonly FakeKube _kube = new();
    private readonly HubMetrics _metrics = new();
    private readonly Dictionary<(ResourceKind, string), JsonObject> _seen = [];
    private EventRecorder _events = null!;
    private NodeSync _sync = null!;
    private long _version = 100;

    public Task InitializeAsync()
    {
        _events = new EventRecorder(_kube, _time, _metrics, NullLogger.Instance);
        _sync = new NodeSync(_kube, _time, new Random(1), _events, _metrics, NullLogger.Instance);
        return Task.CompletedTask;
    }

    public async Task DisposeAsync()
    {
        await _sync.DisposeAsync();
        await _events.DisposeAsync();
    }

    [Fact]
    public async Task Edges_that_want_services_get_global_services_with_the_endpoints_of_their_status()
    {
        var service = JsonNode.Parse("""
            {"metadata":{"name":"shop","namespace":"default","uid":"u1","resourceVersion":"7","labels":{"a":"b"}},"spec":{"hosts":["shop.edge.example"]},
             "status":{"conditions":[{"type":"Ready","status":"True"}],"hosts":["shop.edge.example"],"endpoints":[{"name":"a","addresses":"192.0.2.1","state":"Up"}]}}
            """)!.AsObject();
        _sync.Changed(GslbKinds.GlobalService, new ObjectChange(ChangeType.Added, service, null));
        var (first, without) = (new TestSession("n1"), new TestSession("n2"));
        await ConnectAsync(first);
        await without.ConnectAsync(_sync);
        Assert.Equal(["update default/globalservice/shop 7"], first.Told);
        Assert.Empty(without.Told);
        Assert.Equal(
            """{"apiVersion":"gslb.edge.io/v1alpha1","kind":"GlobalService","metadata":{"name":"shop","namespace":"default","uid":"u1","resourceVersion":"7"},"spec":{"hosts":["shop.edge.example"]},"resolved":{"hosts":["shop.edge.example"],"endpoints":[{"name":"a","addresses":"192.0.2.1","state":"Up"}]}}""",
            first.Objects[0].Body.Json.ToJsonString());

        // Conditions are for users; the health of an endpoint is for edges.
        service = service.DeepClone().AsObject();
        service["metadata"]!["resourceVersion"] = "8";
        service["status"]!["conditions"]![0]!["status"] = "False";
        _sync.Changed(GslbKinds.GlobalService, new ObjectChange(ChangeType.Updated, service, null));
        Assert.Single(first.Told);
        service = service.DeepClone().AsObject();
        service["metadata"]!["resourceVersion"] = "9";
        service["status"]!["endpoints"]![0]!["state"] = "Down";
        _sync.Changed(GslbKinds.GlobalService, new ObjectChange(ChangeType.Updated, service, null));
        Assert.Equal("update default/globalservice/shop 9", first.Told[1]);
        _sync.Changed(GslbKinds.GlobalService, new ObjectChange(ChangeType.Deleted, service, null));
        Assert.Empty(first.Store);
    }

    [Fact]
    public async Task Edges_that_want_services_get_the_zones_that_are_served_with_the_names_of_global_services()
    {
        var zone = JsonNode.Parse("""
            {"metadata":{"name":"edge","uid":"u1","resourceVersion":"7","generation":3,"labels":{"a":"b"}},"spec":{"apex":"edge.example","nameServers":["ns1"],"transfer":{"allow":["192.0.2.0/24"]},"notify":["192.0.2.9"],
             "records":[{"name":"www","type":"A","data":["192.0.2.1"]}]},"status":{"conditions":[{"type":"Ready","status":"False"}],"hosts":["shop.edge.example"]}}
            """)!.AsObject();
        var (first, without) = (new TestSession("n1"), new TestSession("n2"));
        _sync.Changed(GslbKinds.Zone, new ObjectChange(ChangeType.Added, zone, null));
        await ConnectAsync(first);
        await without.ConnectAsync(_sync);
        Assert.Empty(first.Told); // not served

        zone = Changed(8, zone => zone["status"]!["conditions"]![0]!["status"] = "True");
        Assert.Equal(["insert null/zone/edge 8"], first.Told);
        Assert.Equal(
            """{"apiVersion":"gslb.edge.io/v1alpha1","kind":"Zone","metadata":{"name":"edge","uid":"u1","resourceVersion":"8"},"spec":{"apex":"edge.example","nameServers":["ns1"],"records":[{"name":"www","type":"A","data":["192.0.2.1"]}],"soa":{"serial":3}},"resolved":{"hosts":["shop.edge.example"]}}""",
            first.Objects[0].Body.Json.ToJsonString());
        // Who may transfer it is not for edges.
        zone = Changed(9, zone => zone["spec"]!["notify"] = new JsonArray());
        Assert.Single(first.Told);
        zone = Changed(10, zone => zone["status"]!["hosts"] = new JsonArray());
        Assert.Equal("update null/zone/edge 10", first.Told[1]);
        // But the serial that moves with it is, unless the spec says its own.
        zone = Changed(11, zone => (zone["spec"]!["notify"], zone["metadata"]!["generation"]) = (new JsonArray("192.0.2.8"), 4));
        Assert.Equal(("update null/zone/edge 11", 4), (first.Told[2], first.Objects[^1].Body.Json.Number(0, "spec", "soa", "serial")));
        zone = Changed(12, zone => (zone["spec"]!["soa"], zone["metadata"]!["generation"]) = (new JsonObject { ["serial"] = 2026112201, ["minimum"] = 30 }, 5));
        Assert.Equal("""{"serial":2026112201,"minimum":30}""", first.Objects[^1].Body.Json.At("spec", "soa")!.ToJsonString());
        zone = Changed(13, zone => (zone["spec"]!["notify"], zone["metadata"]!["generation"]) = (new JsonArray(), 6));
        Assert.Equal(4, first.Told.Count);
        // One that is too large goes, and comes back when it fits again.
        zone = Changed(14, zone => zone["spec"]!["records"]![0]!["data"]![0] = new string('1', ZonePlacement.ZoneBytesMax));
        Assert.Empty(first.Store);
        zone = Changed(15, zone => zone["spec"]!["records"]![0]!["data"]![0] = "192.0.2.2");
        Assert.Single(first.Store);
        _sync.Changed(GslbKinds.Zone, new ObjectChange(ChangeType.Deleted, zone, null));
        Assert.Empty(first.Store);
        Assert.Empty(without.Told);

        JsonObject Changed(int version, Action<JsonObject> change)
        {
            var next = zone.DeepClone().AsObject();
            next["metadata"]!["resourceVersion"] = $"{version}";
            change(next);
            _sync.Changed(GslbKinds.Zone, new ObjectChange(ChangeType.Updated, next, zone));
            return next;
        }
    }

    [Fact]
    public async Task Only_edges_that_want_services_get_them_and_all_get_the_same_bytes()
    {
        Service("web");
        var (first, second, without, stock) = (new TestSession("n1"), new TestSession("n2"), new TestSession("n3"), new TestSession("n4", isEdgeWire: false));
        await ConnectAsync(first);
        await ConnectAsync(second);
        await without.ConnectAsync(_sync);
        Assert.True(_sync.TryRegister(stock, 10));
        _sync.OpenStock(stock);
        Assert.Equal(["update default/service/web 101"], first.Told);
        Slice("web-a", "web", "n1");
        Assert.Equal(["update default/service/web 101", "insert default/endpointslice/web-a 102"], first.Told);
        Assert.Equal(first.Told, second.Told);
        Assert.Same(first.Objects[1].Body, second.Objects[1].Body);
        Assert.Empty(without.Told);
        Assert.Empty(stock.Told);

        Delete(ResourceKind.EndpointSlice, "web-a");
        Delete(ResourceKind.Service, "web");
        Assert.Empty(first.Store);
        Assert.All(first.Objects.Where(obj => obj.IsDelete), obj => Assert.True(obj.IsFinal));
    }

    [Fact]
    public async Task An_edge_that_has_all_is_told_nothing_and_one_that_no_longer_wants_them_loses_them()
    {
        Service("web");
        Slice("web-a", "web", "n1");
        var first = new TestSession("n1");
        await ConnectAsync(first);
        Assert.Equal(2, first.Store.Count);
        var again = new TestSession("n1", store: first.Store);
        Assert.True(await ConnectAsync(again));
        Assert.Empty(again.Told);
        var switchedOff = new TestSession("n1", store: again.Store);
        await switchedOff.ConnectAsync(_sync);
        Assert.Empty(switchedOff.Store);
    }

    [Fact]
    public async Task Only_what_a_resolver_needs_travels()
    {
        Put(ResourceKind.Service, "web", """{"metadata":{"labels":{"a":"b"},"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"x","apps.kubeedge.io/service-topology":"range-nodegroup"}},"spec":{"type":"ClusterIP","selector":{"a":"b"},"clusterIP":"10.96.0.1","ports":[{"name":"http","port":80,"targetPort":8080,"nodePort":30000}],"sessionAffinity":"None"},"status":{"loadBalancer":{}}}""");
        Slice("web-a", "web", "n1");
        var session = new TestSession("n1");
        await ConnectAsync(session);
        Assert.Equal(
            """{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"default","uid":"web-uid","resourceVersion":"101","annotations":{"apps.kubeedge.io/service-topology":"range-nodegroup"}},"spec":{"type":"ClusterIP","clusterIP":"10.96.0.1","ports":[{"name":"http","port":80,"targetPort":8080}]}}""",
            session.Objects[0].Body.Json.ToJsonString());
        Assert.Equal(
            """{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"web-a","namespace":"default","uid":"web-a-uid","resourceVersion":"102","labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"],"conditions":{"ready":true},"nodeName":"n1"}],"ports":[{"port":8080}]}""",
            session.Objects[1].Body.Json.ToJsonString());

        // What does not travel changes nothing.
        Put(ResourceKind.Service, "web", """{"metadata":{"annotations":{"other":"x","apps.kubeedge.io/service-topology":"range-nodegroup"}},"spec":{"type":"ClusterIP","clusterIP":"10.96.0.1","ports":[{"name":"http","port":80,"targetPort":8080}]}}""");
        Assert.Equal(2, session.Told.Count);
        Assert.True(await ConnectAsync(new TestSession("n1", store: session.Store)));
    }

    [Fact]
    public async Task An_endpoint_carries_the_group_of_its_node_and_follows_it()
    {
        Node("n1", "east");
        Slice("web-a", "web", "n1");
        var session = new TestSession("n9");
        await ConnectAsync(session);
        Assert.Equal("east", Group(session));
        Node("n1", "east"); // a report of the node
        Assert.Single(session.Told);
        Node("n1", "west");
        Assert.Equal("west", Group(session));
        Assert.Equal("update default/endpointslice/web-a 104", session.Told[^1]);
        // A change of the slice that shows late is new all the same.
        Slice("web-a", "web", "n1", version: 103, ready: false);
        Assert.Equal("update default/endpointslice/web-a 105", session.Told[^1]);
        Assert.Equal(session.Objects[^1].Body.Fingerprint, session.Store["default/endpointslice/web-a"].Fingerprint);
        Delete(ResourceKind.Node, "n1");
        Assert.Equal("", Group(session));

        string Group(TestSession of) => of.Objects[^1].Body.Json.Items("endpoints").Single().At("deprecatedTopology") is JsonObject topology ? topology[ServicePlacement.GroupLabel]!.GetValue<string>() : "";
    }

    [Fact]
    public async Task A_new_cloudcore_that_knows_no_bumped_version_sends_nothing_that_the_edge_has()
    {
        Slice("web-a", "web", "n1");
        Node("n1", "east");
        var session = new TestSession("n9");
        await ConnectAsync(session);
        Assert.Equal(102, session.Store["default/endpointslice/web-a"].Version);
        await using var other = new NodeSync(_kube, _time, new Random(1), _events, _metrics, NullLogger.Instance);
        foreach (var ((kind, _), obj) in _seen.OrderByDescending(pair => pair.Key.Item1.Kind))
            other.Changed(kind, new ObjectChange(ChangeType.Added, obj, null));
        var again = new TestSession("n9", store: session.Store);
        Assert.True(other.TryRegister(again, 10));
        Assert.Equal(Edge.Protocol.Messages.MessageCodec.Ok.ToArray(), other.AnswerDigest(again, again.Digest(), wantsServices: true).ToArray());
    }

    [Fact]
    public async Task Slices_of_no_service_or_of_names_stay()
    {
        Put(ResourceKind.EndpointSlice, "loose", """{"addressType":"IPv4","endpoints":[]}""");
        Put(ResourceKind.EndpointSlice, "names", """{"metadata":{"labels":{"kubernetes.io/service-name":"web"}},"addressType":"FQDN","endpoints":[{"addresses":["a.example.com"]}]}""");
        var session = new TestSession("n1");
        Assert.True(await ConnectAsync(session));
        Slice("web-a", "web", "n1");
        Assert.Single(session.Store);
        // It loses its label.
        Put(ResourceKind.EndpointSlice, "web-a", """{"addressType":"IPv4","endpoints":[]}""");
        Assert.Empty(session.Store);
    }

    [Fact]
    public void The_wish_stands_in_the_digest()
    {
        var digest = new InventoryDigest(1);
        Assert.True(InventoryMessages.ReadWantsServices(InventoryMessages.WriteDigest(0, digest, wantsServices: true)));
        Assert.False(InventoryMessages.ReadWantsServices(InventoryMessages.WriteDigest(0, digest)));
        Assert.NotNull(InventoryMessages.ReadDigest(InventoryMessages.WriteDigest(0, digest, wantsServices: true), out _));
        Assert.False(InventoryMessages.ReadWantsServices("""{"services":"yes"}"""u8.ToArray()));
    }

    private async Task<bool> ConnectAsync(TestSession session)
    {
        Assert.True(_sync.TryRegister(session, 10));
        var digest = session.Digest();
        var asked = InventoryMessages.ReadAsk(_sync.AnswerDigest(session, digest, wantsServices: true), digest.Buckets, out var error);
        Assert.True(asked is not null, error);
        if (asked.Count == 0)
            return true;
        await _sync.ApplyPartAsync(session, session.Part(digest.Buckets, asked), CancellationToken.None);
        return false;
    }

    private void Service(string name) => Put(ResourceKind.Service, name, """{"spec":{"clusterIP":"10.96.0.1","ports":[{"port":80}]}}""");

    private void Slice(string name, string service, string node, long version = 0, bool ready = true)
        => Put(
            ResourceKind.EndpointSlice, name,
            $$$"""{"metadata":{"labels":{"kubernetes.io/service-name":"{{{service}}}","x":"y"} },"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"],"conditions":{"ready":{{{(ready ? "true" : "false")}}} },"nodeName":"{{{node}}}","targetRef":{"kind":"Pod","name":"p"}}],"ports":[{"port":8080}]}""",
            version);

    private void Node(string name, string group)
        => Put(ResourceKind.Node, name, $$$"""{"metadata":{"labels":{"node-role.kubernetes.io/edge":"","apps.kubeedge.io/belonging-to":"{{{group}}}"}},"status":{"x":"{{{_version}}}"}}""");

    private void Put(ResourceKind kind, string name, string json, long version = 0)
    {
        var obj = JsonNode.Parse(json)!.AsObject();
        obj["apiVersion"] = kind.ApiVersion;
        obj["kind"] = kind.Kind;
        var metadata = obj.Child("metadata");
        metadata["name"] = name;
        if (kind.Namespaced)
            metadata["namespace"] = "default";
        metadata["uid"] = $"{name}-uid";
        metadata["resourceVersion"] = (version > 0 ? version : ++_version).ToString(System.Globalization.CultureInfo.InvariantCulture);
        var before = _seen.GetValueOrDefault((kind, name));
        _seen[(kind, name)] = obj;
        _sync.Changed(kind, new ObjectChange(before is null ? ChangeType.Added : ChangeType.Updated, obj, before));
    }

    private void Delete(ResourceKind kind, string name)
    {
        _seen.Remove((kind, name), out var before);
        var last = before!.DeepClone().AsObject();
        last["metadata"]!["resourceVersion"] = (++_version).ToString(System.Globalization.CultureInfo.InvariantCulture);
        _sync.Changed(kind, new ObjectChange(ChangeType.Deleted, last, before));
    }
}

using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Cloud.NodeTasks;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Cloud.Tests;

/// <summary>An edge may touch what is its own; each refusal of anything else says 403 and is counted.</summary>
[Trait("Category", "Sync")]
public sealed class ForbiddenTests : IAsyncLifetime
{
    private Support.Cloud _cloud = null!;
    private FakeEdge _edge = null!;

    public async Task InitializeAsync()
    {
        _cloud = await Support.Cloud.StartAsync();
        _edge = await _cloud.JoinAsync("edge-1");
        await _cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("far", "edge-2", Support.Cloud.UsingConfig("theirs")));
        await _cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("near", "edge-1"));
        await _cloud.CreateAsync(ResourceKind.ConfigMap, Support.Cloud.Config("theirs"));
        await _cloud.CreateAsync(ResourceKind.Secret, Support.Cloud.Config("theirs"));
    }

    public async Task DisposeAsync()
    {
        await _edge.DisposeAsync();
        await _cloud.DisposeAsync();
    }

    [Theory]
    [InlineData("patch", "null/nodepatch/edge-2")]
    [InlineData("update", "null/node/edge-2")]
    [InlineData("query", "null/node/edge-2")]
    [InlineData("query", "kube-node-lease/lease/edge-2")]
    [InlineData("update", "kube-node-lease/lease/edge-2")]
    [InlineData("patch", "kube-node-lease/lease/edge-2")]
    [InlineData("query", "kube-system/lease/edge-1")]
    [InlineData("patch", "kube-system/lease/edge-1")]
    [InlineData("patch", "default/podpatch/far")]
    [InlineData("insert", "default/pod/new")]
    [InlineData("query", "default/configmap/theirs")]
    [InlineData("query", "default/secret/theirs")]
    [InlineData("query", "kubeedge/secret/casecret")]
    [InlineData("query", "kubeedge/secret/tokensecret")]
    [InlineData("query", "default/serviceaccounttoken/default")]
    [InlineData("query", "default/persistentvolumeclaim/theirs")]
    public async Task What_is_another_nodes_is_refused_and_counted(string operation, string resource)
    {
        var answer = await _edge.AskAsync(operation, resource, JsonValue.Create("""{"metadata":{"name":"edge-2"}}"""));
        Assert.Equal(403, Status(answer).Number(0, "code"));
        Assert.Equal("Forbidden", Status(answer).Text("reason"));
        Assert.Equal(1, _cloud.Host.Metrics.ForbiddenRequests);
    }

    [Fact]
    public async Task Own_name_in_the_resource_does_not_help_another_name_in_the_content()
    {
        var other = JsonNode.Parse("""{"metadata":{"name":"edge-2"}}""")!;
        Assert.Equal(403, Status(await _edge.AskAsync("insert", "null/node/edge-1", other.DeepClone())).Number(0, "code"));
        Assert.Equal(403, Status(await _edge.AskAsync("insert", "kube-node-lease/lease/edge-1", other)).Number(0, "code"));
        Assert.Equal(2, _cloud.Host.Metrics.ForbiddenRequests);
    }

    [Fact]
    public async Task Renewal_of_another_nodes_lease_is_refused_and_counted()
    {
        await _cloud.Kube.CreateAsync(
            ResourceKind.Lease, "kube-node-lease", (JsonObject)JsonNode.Parse("""{"metadata":{"name":"edge-2"},"spec":{"renewTime":"2026-01-01T00:00:00.000000Z"}}""")!, CancellationToken.None);
        using var certificate = await _cloud.EnrolAsync("edge-3");
        await using var edge = await FakeEdge.ConnectAsync(_cloud.Host.WebSocketPort, "edge-3", certificate, isEdgeWire: true);
        var answer = await edge.AskAsync("patch", "kube-node-lease/lease/edge-2", JsonNode.Parse("""{"spec":{"renewTime":"2026-01-01T00:00:10.000000Z"}}"""));
        Assert.Equal(403, Status(answer).Number(0, "code"));
        var lease = await _cloud.Kube.GetAsync(ResourceKind.Lease, "kube-node-lease", "edge-2", CancellationToken.None);
        Assert.Equal("2026-01-01T00:00:00.000000Z", lease.Text("spec", "renewTime"));
        Assert.Equal(1, _cloud.Host.Metrics.ForbiddenRequests);
    }

    [Theory]
    [InlineData("""{"kubernetes.io/config.mirror":"1"}""", """{"nodeName":"edge-2"}""")]
    [InlineData("""{"kubernetes.io/config.mirror":"1"}""", "{}")]
    [InlineData("""{"kubernetes.io/config.source":"file"}""", """{"nodeName":"edge-1"}""")]
    [InlineData("""{"kubernetes.io/config.mirror":"1"}""", """{"nodeName":"edge-1","serviceAccountName":"admin"}""")]
    [InlineData("""{"kubernetes.io/config.mirror":"1"}""", """{"nodeName":"edge-1","serviceAccount":"admin"}""")]
    [InlineData("""{"kubernetes.io/config.mirror":"1"}""", """{"nodeName":"edge-1","volumes":[{"name":"v","secret":{"secretName":"theirs"}}]}""")]
    [InlineData("""{"kubernetes.io/config.mirror":"1"}""", """{"nodeName":"edge-1","volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"theirs"}}]}""")]
    [InlineData("""{"kubernetes.io/config.mirror":"1"}""", """{"nodeName":"edge-1","volumes":[{"name":"v","ephemeral":{"volumeClaimTemplate":{}}}]}""")]
    public async Task Mirror_pod_of_another_node_or_one_that_refers_to_what_is_not_the_nodes_is_refused_and_counted(string annotations, string spec)
    {
        var pod = Mirror();
        pod["metadata"]!["annotations"] = JsonNode.Parse(annotations);
        pod["spec"] = JsonNode.Parse(spec);
        Assert.Equal(403, Status(await _edge.AskAsync("insert", "default/pod/static", pod)).Number(0, "code"));
        Assert.Null(await _cloud.Kube.TryGetAsync(ResourceKind.Pod, "default", "static", CancellationToken.None));
        Assert.Equal(1, _cloud.Host.Metrics.ForbiddenRequests);
    }

    // A controller takes what it owns, or could take over, for its own, and deletes another pod for it.
    [Theory]
    [InlineData("""[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"shop","uid":"1","controller":true}]""")]
    [InlineData("""[{"apiVersion":"v1","kind":"Node","name":"edge-2","uid":"1","controller":true}]""")]
    [InlineData("""[{"apiVersion":"v1","kind":"Node","name":"edge-1","uid":"1"}]""")]
    [InlineData("""[{"apiVersion":"v1","kind":"Node","name":"edge-1","uid":"1","controller":true},{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"shop","uid":"1"}]""")]
    [InlineData("null")]
    public async Task Mirror_pod_with_another_owner_than_its_node_is_refused_and_counted(string owners)
    {
        var pod = Mirror();
        pod["metadata"]!["ownerReferences"] = JsonNode.Parse(owners);
        Assert.Equal(403, Status(await _edge.AskAsync("insert", "default/pod/static", pod)).Number(0, "code"));
        Assert.Null(await _cloud.Kube.TryGetAsync(ResourceKind.Pod, "default", "static", CancellationToken.None));
        Assert.Equal(1, _cloud.Host.Metrics.ForbiddenRequests);
    }

    [Fact]
    public async Task Mirror_pod_of_the_own_node_brings_no_token_of_its_namespace()
    {
        var made = (await _edge.AskAsync("insert", "default/pod/static", Mirror()))!["Object"]!.AsObject();
        var ask = new JsonObject { ["spec"] = new JsonObject { ["boundObjectRef"] = new JsonObject { ["kind"] = "Pod", ["name"] = "static", ["uid"] = made.Uid() } } };
        Assert.Equal(403, Status(await _edge.AskAsync("query", "default/serviceaccounttoken/default", ask)).Number(0, "code"));
        Assert.Equal(1, _cloud.Host.Metrics.ForbiddenRequests);
    }

    [Fact]
    public async Task Claims_and_volumes_of_another_nodes_pods_are_refused_and_counted()
    {
        JsonObject Named(string name, string spec) => new() { ["metadata"] = new JsonObject { ["name"] = name }, ["spec"] = JsonNode.Parse(spec) };
        var claiming = new JsonObject { ["volumes"] = JsonNode.Parse("""[{"name":"data","persistentVolumeClaim":{"claimName":"theirs"}}]""") };
        await _cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("claims", "edge-2", claiming));
        await _cloud.CreateAsync(ResourceKind.PersistentVolumeClaim, Named("theirs", """{"volumeName":"pv-theirs"}"""));
        await _cloud.CreateAsync(ResourceKind.PersistentVolume, Named("pv-theirs", """{"claimRef":{"namespace":"default","name":"theirs"}}"""));
        await _cloud.CreateAsync(ResourceKind.PersistentVolume, Named("pv-nobodys", "{}"));
        foreach (var resource in (string[])["default/persistentvolumeclaim/theirs", "null/persistentvolume/pv-theirs", "null/persistentvolume/pv-nobodys"])
            Assert.Equal(403, Status(await _edge.AskAsync("query", resource)).Number(0, "code"));
        Assert.Equal(3, _cloud.Host.Metrics.ForbiddenRequests);
    }

    [Fact]
    public async Task Delete_of_another_nodes_pod_is_refused_and_counted()
    {
        var far = await _cloud.Kube.GetAsync(ResourceKind.Pod, "default", "far", CancellationToken.None);
        var answer = await _edge.AskAsync("delete", "default/pod/far", new JsonObject { ["preconditions"] = new JsonObject { ["uid"] = far.Uid() } });
        Assert.Equal(403, Status(answer).Number(0, "code"));
        Assert.NotNull(await _cloud.Kube.TryGetAsync(ResourceKind.Pod, "default", "far", CancellationToken.None));
        Assert.Equal(1, _cloud.Host.Metrics.ForbiddenRequests);
    }

    [Theory]
    [InlineData("far", "default")]
    [InlineData("near", "admin")]
    public async Task Token_of_another_nodes_pod_or_of_another_account_is_refused_and_counted(string name, string account)
    {
        var pod = await _cloud.Kube.GetAsync(ResourceKind.Pod, "default", name, CancellationToken.None);
        var ask = new JsonObject { ["spec"] = new JsonObject { ["boundObjectRef"] = new JsonObject { ["kind"] = "Pod", ["name"] = name, ["uid"] = pod.Uid() } } };
        Assert.Equal(403, Status(await _edge.AskAsync("query", $"default/serviceaccounttoken/{account}", ask)).Number(0, "code"));
        Assert.Equal(1, _cloud.Host.Metrics.ForbiddenRequests);
    }

    [Theory]
    [InlineData("""{"metadata":{"labels":{"app":"shop"}},"status":{"phase":"Running"}}""")]
    [InlineData("""{"metadata":{"annotations":{"a":"b"}},"status":{"phase":"Running"}}""")]
    [InlineData("""{"metadata":{"finalizers":["edge.io/kept"]},"status":{"phase":"Running"}}""")]
    [InlineData("""{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"far","uid":"1"}]},"status":{"phase":"Running"}}""")]
    [InlineData("""{"metadata":null,"status":{"phase":"Running"}}""")]
    [InlineData("""{"spec":{"nodeName":"edge-2"},"status":{"phase":"Running"}}""")]
    [InlineData("""{"$patch":"replace","status":{"phase":"Running"}}""")]
    public async Task Report_of_an_own_pod_that_would_change_more_than_its_status_is_refused_and_counted(string patch)
    {
        var before = await _cloud.Kube.GetAsync(ResourceKind.Pod, "default", "near", CancellationToken.None);
        Assert.Equal(403, Status(await _edge.AskAsync("patch", "default/podpatch/near", JsonValue.Create(patch))).Number(0, "code"));
        Assert.Equal(before.ToJsonString(), (await _cloud.Kube.GetAsync(ResourceKind.Pod, "default", "near", CancellationToken.None)).ToJsonString());
        Assert.Equal(1, _cloud.Host.Metrics.ForbiddenRequests);
    }

    [Theory]
    [InlineData("""{"metadata":{"finalizers":["edge.io/kept"]}}""")]
    [InlineData("""{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"edge-2","uid":"1"}]}}""")]
    [InlineData("""{"spec":{"taints":null}}""")]
    [InlineData("""{"$patch":"replace","status":{}}""")]
    public async Task Report_of_the_own_node_that_would_change_more_than_its_status_and_labels_is_refused_and_counted(string patch)
    {
        var before = await NodeAsync();
        Assert.Equal(403, Status(await _edge.AskAsync("patch", "null/nodepatch/edge-1", JsonValue.Create(patch))).Number(0, "code"));
        Assert.Equal(before.ToJsonString(), (await NodeAsync()).ToJsonString());
        Assert.Equal(1, _cloud.Host.Metrics.ForbiddenRequests);
    }

    [Theory]
    [InlineData("patch", "null/nodepatch/edge-1")]
    [InlineData("update", "null/node/edge-1")]
    [InlineData("insert", "null/node/edge-1")]
    public async Task Label_that_Kubernetes_keeps_from_nodes_is_refused_and_counted_unless_the_node_has_it_already(string operation, string resource)
    {
        JsonNode Labelled(JsonNode? restricted)
        {
            var labels = new JsonObject { ["zone"] = "a", ["team.node-restriction.kubernetes.io/trusted"] = restricted };
            var node = new JsonObject { ["metadata"] = new JsonObject { ["name"] = "edge-1", ["labels"] = labels } };
            return operation == "patch" ? JsonValue.Create(node.ToJsonString())! : node;
        }

        var before = await NodeAsync();
        Assert.Equal(403, Status(await _edge.AskAsync(operation, resource, Labelled("yes"))).Number(0, "code"));
        Assert.Equal(before.ToJsonString(), (await NodeAsync()).ToJsonString());
        Assert.Equal(1, _cloud.Host.Metrics.ForbiddenRequests);

        await _cloud.Kube.PatchAsync(
            ResourceKind.Node, null, "edge-1", PatchKind.Merge, """{"metadata":{"labels":{"team.node-restriction.kubernetes.io/trusted":"no"}}}"""u8.ToArray(), null, CancellationToken.None);
        foreach (var other in (JsonNode?[])["yes", null])
            Assert.Equal(403, Status(await _edge.AskAsync(operation, resource, Labelled(other))).Number(0, "code"));
        Assert.Equal(3, _cloud.Host.Metrics.ForbiddenRequests);

        // Edges send back what they have read.
        await _edge.AskAsync(operation, resource, Labelled("no"));
        Assert.Equal(("a", "no"), ((await NodeAsync()).Label("zone"), (await NodeAsync()).Label("team.node-restriction.kubernetes.io/trusted")));
        Assert.Equal(3, _cloud.Host.Metrics.ForbiddenRequests);
    }

    [Fact]
    public async Task New_node_cannot_register_with_a_label_that_Kubernetes_keeps_from_nodes()
    {
        using var certificate = await _cloud.EnrolAsync("edge-3");
        await using var edge = await FakeEdge.ConnectAsync(_cloud.Host.WebSocketPort, "edge-3", certificate);
        var node = Support.Cloud.NodeOf("edge-3");
        node["metadata"]!["labels"]!["node-restriction.kubernetes.io/trusted"] = "yes";
        Assert.Equal(403, Status(await edge.AskAsync("insert", "null/node/edge-3", node)).Number(0, "code"));
        Assert.Null(await _cloud.Kube.TryGetAsync(ResourceKind.Node, null, "edge-3", CancellationToken.None));
        Assert.Equal(1, _cloud.Host.Metrics.ForbiddenRequests);
    }

    [Fact]
    public async Task Labels_of_the_own_node_go_with_its_status_as_kubelets_send_them_but_not_which_cloudcore_has_it()
    {
        var claim = (await NodeAsync()).Annotation("cloudcore");
        const string Patch = """
            {"metadata":{"labels":{"$patch":"replace","kubernetes.io/arch":"amd64"},"annotations":{"$patch":"replace","a":"b","cloudcore":"192.0.2.66","edge.kubeedge.io/cloudcore-stream":"192.0.2.66:1"}},
            "status":{"nodeInfo":{"kubeletVersion":"v1"}}}
            """;
        Assert.Null((await _edge.AskAsync("patch", "null/nodepatch/edge-1", JsonValue.Create(Patch)))!["Err"]);
        var node = await NodeAsync();
        Assert.Equal("v1", node.Text("status", "nodeInfo", "kubeletVersion"));
        Assert.Equal(("amd64", "", null), (node.Label("kubernetes.io/arch"), node.Label("node-role.kubernetes.io/edge"), node.Label("$patch")));
        Assert.Equal(("b", claim, null), (node.Annotation("a"), node.Annotation("cloudcore"), node.Annotation("$patch")));
        Assert.NotEqual("192.0.2.66:1", node.Annotation("edge.kubeedge.io/cloudcore-stream"));
        Assert.Equal(0, _cloud.Host.Metrics.ForbiddenRequests);
    }

    [Fact]
    public async Task New_node_does_not_say_where_other_cloudcores_find_its_own()
    {
        using var certificate = await _cloud.EnrolAsync("edge-3");
        await using var edge = await FakeEdge.ConnectAsync(_cloud.Host.WebSocketPort, "edge-3", certificate);
        var node = Support.Cloud.NodeOf("edge-3");
        node["metadata"]!["annotations"] = new JsonObject { ["edge.kubeedge.io/cloudcore-stream"] = "192.0.2.66:1" };
        var made = await edge.AskAsync("insert", "null/node/edge-3", node);
        Assert.NotEqual("192.0.2.66:1", made!["Object"]!.AsObject().Annotation("edge.kubeedge.io/cloudcore-stream"));
    }

    [Fact]
    public async Task Event_about_another_nodes_pod_is_not_written_and_counted()
    {
        var about = JsonNode.Parse("""{"metadata":{"name":"far.1","namespace":"default"},"involvedObject":{"kind":"Pod","namespace":"default","name":"far"},"reason":"Pulled"}""");
        await _edge.SendAsync("edged", "meta", "insert", "default/event/far.1", about);
        // The same lane: its answer comes after the event was dealt with.
        await _edge.AskAsync("query", "default/configmap/far.1");
        Assert.Empty((await _cloud.Kube.ListAsync(ResourceKind.Event, null, new ListOptions(), CancellationToken.None)).Items);
        Assert.Equal(2, _cloud.Host.Metrics.ForbiddenRequests);
    }

    [Theory]
    [InlineData("patch", """{"event":{"metadata":{"name":"near.1","namespace":"default"},"involvedObject":{"kind":"Pod","namespace":"default","name":"near"}},"patchData":{"message":"forged"}}""")]
    [InlineData("update", """{"metadata":{"name":"far.1","namespace":"default"},"involvedObject":{"kind":"Pod","namespace":"default","name":"near"},"message":"forged"}""")]
    [InlineData("update", """{"metadata":{"name":"far.2","namespace":"default"},"involvedObject":{"kind":"Pod","namespace":"default","name":"near"},"message":"forged"}""")]
    public async Task Event_of_another_nodes_pod_is_not_changed_under_an_own_pods_name(string operation, string content)
    {
        foreach (var (name, pod) in ((string, string)[])[("far.1", "far"), ("far.2", "far"), ("near.1", "near")])
        {
            await _cloud.CreateAsync(ResourceKind.Event, new JsonObject
            {
                ["metadata"] = new JsonObject { ["name"] = name },
                ["involvedObject"] = new JsonObject { ["kind"] = "Pod", ["namespace"] = "default", ["name"] = pod },
                ["message"] = "true",
            });
        }

        var isOtherName = content.Contains("far.2", StringComparison.Ordinal);
        await _edge.SendAsync("edged", "meta", operation, isOtherName ? "default/event/near.1" : "default/event/far.1", JsonNode.Parse(content));
        await _edge.AskAsync("query", "default/configmap/far.1");
        await _edge.AskAsync("query", "default/configmap/near.1");
        Assert.All((await _cloud.Kube.ListAsync(ResourceKind.Event, null, new ListOptions(), CancellationToken.None)).Items, one => Assert.Equal("true", one.Text("message")));
    }

    [Theory]
    [InlineData("""{"involvedObject":{"name":"far"}}""")]
    [InlineData("""{"count":2,"involvedObject":{"kind":"Node","name":"edge-2","namespace":null}}""")]
    [InlineData("""{"involvedObject":null}""")]
    [InlineData("""{"InvolvedObject":{"name":"far"}}""")]
    [InlineData("""{"regarding":{"kind":"Pod","namespace":"default","name":"far"}}""")]
    [InlineData("""{"related":{"kind":"Pod","namespace":"default","name":"far"}}""")]
    [InlineData("""{"metadata":{"name":"far.1"}}""")]
    [InlineData("""{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"far","uid":"1"}]}}""")]
    [InlineData("""{"metadata":null}""")]
    [InlineData("""{"$patch":"replace","message":"forged"}""")]
    public async Task Patch_of_an_own_pods_event_cannot_make_it_an_event_of_something_else(string patch)
    {
        await CreateEventAsync();
        var before = await EventAsync();
        var forms = (JsonNode[])[JsonNode.Parse(patch)!, JsonValue.Create(patch), JsonValue.Create(Convert.ToBase64String(Encoding.UTF8.GetBytes(patch)))];
        foreach (var form in forms)
            await PatchEventAsync(form);
        Assert.Equal(before.ToJsonString(), (await EventAsync()).ToJsonString());
        Assert.Equal(forms.Length, _cloud.Host.Metrics.ForbiddenRequests);
    }

    [Fact]
    public async Task Repeat_of_an_own_pods_event_is_written_in_each_form_of_its_patch()
    {
        await CreateEventAsync();
        // As client-go's recorder counts repeats; the last is what the newer one does.
        await PatchEventAsync(JsonNode.Parse("""{"count":2,"lastTimestamp":"2026-11-21T05:04:22Z","message":"again"}""")!);
        Assert.Equal((2L, "again", "2026-11-21T05:04:22Z"), await RepeatAsync());
        await PatchEventAsync(JsonValue.Create("""{"count":3,"lastTimestamp":"2026-11-21T05:04:23Z","message":"and again"}"""));
        Assert.Equal((3L, "and again", "2026-11-21T05:04:23Z"), await RepeatAsync());
        await PatchEventAsync(JsonValue.Create(Convert.ToBase64String("""{"count":4,"lastTimestamp":"2026-11-21T05:04:24Z","message":"still"}"""u8)));
        Assert.Equal((4L, "still", "2026-11-21T05:04:24Z"), await RepeatAsync());
        await PatchEventAsync(JsonNode.Parse("""{"series":{"count":5,"lastObservedTime":"2026-11-21T05:04:25.000000Z"}}""")!);
        Assert.Equal(5, (await EventAsync()).Number(0, "series", "count"));
        Assert.Equal("near", (await EventAsync()).Text("involvedObject", "name"));
        Assert.Equal(0, _cloud.Host.Metrics.ForbiddenRequests);
    }

    [Fact]
    public async Task Event_about_a_pod_that_is_gone_is_not_counted()
    {
        var about = JsonNode.Parse("""{"metadata":{"name":"gone.1","namespace":"default"},"involvedObject":{"kind":"Pod","namespace":"default","name":"gone"},"reason":"Killing"}""");
        await _edge.SendAsync("edged", "meta", "insert", "default/event/gone.1", about);
        await _edge.FlushAsync();
        Assert.Equal(0, _cloud.Host.Metrics.ForbiddenRequests);
        Assert.Empty((await _cloud.Kube.ListAsync(ResourceKind.Event, null, new ListOptions(), CancellationToken.None)).Items);
    }

    [Theory]
    [InlineData("twin/edge_updated", """{"twin":{"t":{"actual":{"value":"1"}}}}""")]
    [InlineData("state/update", """{"device":{"name":"thermo","state":"online"}}""")]
    public async Task Report_of_another_nodes_device_is_refused_and_counted(string kind, string content)
    {
        await _cloud.CreateAsync(ResourceKind.Device, new JsonObject { ["metadata"] = new JsonObject { ["name"] = "thermo" }, ["spec"] = new JsonObject { ["nodeName"] = "edge-2" } });
        var report = await _edge.SendAsync(Sources.Twin, Groups.Resource, Operations.Update, $"device/default/thermo/{kind}", JsonNode.Parse(content));
        var reply = await _edge.UntilAsync(message => message.ParentId == report.Id);
        Assert.Equal((Groups.Twin, Sources.DeviceController, Operations.Response), (reply.Group, reply.Source, reply.Operation));
        var answer = FakeEdge.Content(reply);
        Assert.Equal((403, "Forbidden"), (Status(answer).Number(0, "code"), Status(answer).Text("reason")));
        Assert.Equal(1, _cloud.Host.Metrics.ForbiddenRequests);
        Assert.Null(await _cloud.Kube.TryGetAsync(ResourceKind.DeviceStatus, "default", "thermo", CancellationToken.None));
    }

    [Fact]
    public async Task Certificate_request_for_another_node_is_refused_and_counted()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var jwt = (await _cloud.TokenAsync()).Split('.', 2)[1];
        using var answer = await FakeEdge.AskCertificateAsync(_cloud.Host.HttpsPort, "edge-1", FakeEdge.Request("edge-2", key), jwt);
        Assert.Equal(403, (int)answer.StatusCode);
        Assert.Equal(1, _cloud.Host.Metrics.ForbiddenRequests);
    }

    [Fact]
    public async Task Forged_node_id_is_refused_and_counted()
    {
        using var certificate = await _cloud.EnrolAsync("edge-1");
        var status = 0;
        await Assert.ThrowsAsync<System.Net.WebSockets.WebSocketException>(() => FakeEdge.ConnectAsync(_cloud.Host.WebSocketPort, "edge-2", certificate, code => status = code));
        Assert.Equal((403, 1), (status, _cloud.Host.Metrics.ForbiddenRequests));
    }

    [Fact]
    public async Task Refusal_of_the_API_itself_is_not_the_edges_and_not_counted()
    {
        _cloud.Kube.OnWrite = (_, _, _) => throw new KubeException(403, "Forbidden", "cloudcore may not", new JsonObject { ["code"] = 403, ["reason"] = "Forbidden" });
        Assert.Equal(403, Status(await _edge.AskAsync("patch", "null/nodepatch/edge-1", JsonValue.Create("""{"status":{}}"""))).Number(0, "code"));
        Assert.Equal(0, _cloud.Host.Metrics.ForbiddenRequests);
    }

    [Fact]
    public async Task What_cloudcore_may_not_write_yet_is_asked_for_again()
    {
        const string Words = "nodes \"edge-1\" is forbidden: User \"system:serviceaccount:kubeedge:cloudcore\" cannot patch resource \"nodes/status\" in API group \"\" at the cluster scope";
        _cloud.Kube.OnWrite = (_, _, _) => throw new KubeException(403, "Forbidden", Words, new JsonObject { ["code"] = 403, ["reason"] = "Forbidden" });
        var answer = Status(await _edge.AskAsync("patch", "null/nodepatch/edge-1", JsonValue.Create("""{"status":{}}""")));
        Assert.Equal((503L, "ServiceUnavailable"), (answer.Number(0, "code"), answer.Text("reason")));
        Assert.Contains("cannot patch resource", answer.Text("message"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Report_of_another_nodes_task_is_refused_and_counted(bool isEdgeWire)
    {
        await using var cloud = await Support.Cloud.StartAsync(change: options => options with { IsTaskManagerEnabled = true });
        using var certificate = await cloud.EnrolAsync("edge-1");
        await using var edge = await FakeEdge.ConnectAsync(cloud.Host.WebSocketPort, "edge-1", certificate, isEdgeWire: isEdgeWire);
        await CreateTaskOfAsync(cloud, "edge-2");
        var report = await ReportTaskAsync(edge, "edge-2");
        if (isEdgeWire)
        {
            var answer = FakeEdge.Content(await edge.UntilAsync(message => message.ParentId == report.Id));
            Assert.Equal((403, "Forbidden"), (Status(answer).Number(0, "code"), Status(answer).Text("reason")));
        }

        // A stock edge gets no answer; this one comes after the report was dealt with, as it has the same path.
        await edge.AskAsync("query", report.Resource);
        Assert.Equal(1, cloud.Host.Metrics.ForbiddenRequests);
        var job = await cloud.Kube.GetAsync(TaskKind.ImagePrePull.Resource, null, "warm", CancellationToken.None);
        Assert.Empty(job["status"].Items("nodeStatus").Single().Items("actionFlow"));
    }

    [Fact]
    public async Task Report_of_a_task_that_cloudcore_may_not_write_yet_is_asked_for_again()
    {
        await using var cloud = await Support.Cloud.StartAsync(change: options => options with { IsTaskManagerEnabled = true });
        using var certificate = await cloud.EnrolAsync("edge-1");
        await using var edge = await FakeEdge.ConnectAsync(cloud.Host.WebSocketPort, "edge-1", certificate, isEdgeWire: true);
        await CreateTaskOfAsync(cloud, "edge-1");
        const string Words = "imageprepulljobs \"warm\" is forbidden: User \"system:serviceaccount:kubeedge:cloudcore\" cannot update resource \"imageprepulljobs/status\"";
        cloud.Kube.OnWrite = (verb, plural, _) =>
        {
            if ((verb, plural) == ("update", TaskKind.ImagePrePull.Resource.Plural))
                throw new KubeException(403, "Forbidden", Words, new JsonObject { ["code"] = 403, ["reason"] = "Forbidden" });
        };
        var report = await ReportTaskAsync(edge, "edge-1");
        var answer = Status(FakeEdge.Content(await edge.UntilAsync(message => message.ParentId == report.Id)));
        Assert.Equal((503L, "ServiceUnavailable"), (answer.Number(0, "code"), answer.Text("reason")));
        Assert.Equal(0, cloud.Host.Metrics.ForbiddenRequests);
    }

    [Fact]
    public async Task Own_things_are_not_counted_and_the_metric_is_served()
    {
        await _edge.FlushAsync();
        using var http = new HttpClient();
        var metrics = $"http://127.0.0.1:{_cloud.Host.MonitorPort}/metrics";
        Assert.Contains("\nedge_cloudhub_forbidden_total 0\n", await http.GetStringAsync(metrics), StringComparison.Ordinal);
        await _edge.AskAsync("query", "default/secret/theirs");
        Assert.Contains("\nedge_cloudhub_forbidden_total 1\n", await http.GetStringAsync(metrics), StringComparison.Ordinal);
    }

    // As a kubelet makes it.
    private static JsonObject Mirror() => (JsonObject)JsonNode.Parse("""
        {"metadata":{"name":"static","namespace":"default","annotations":{"kubernetes.io/config.mirror":"1"},
        "ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"edge-1","uid":"1","controller":true}]},
        "spec":{"nodeName":"edge-1","containers":[{"name":"main","image":"x:1"}]}}
        """)!;

    private Task<JsonObject> NodeAsync() => _cloud.Kube.GetAsync(ResourceKind.Node, null, "edge-1", CancellationToken.None);

    private Task<JsonObject> CreateEventAsync() => _cloud.CreateAsync(ResourceKind.Event, new JsonObject
    {
        ["metadata"] = new JsonObject { ["name"] = "near.1" },
        ["involvedObject"] = new JsonObject { ["kind"] = "Pod", ["namespace"] = "default", ["name"] = "near" },
        ["message"] = "once",
        ["count"] = 1,
    });

    private Task<JsonObject> EventAsync() => _cloud.Kube.GetAsync(ResourceKind.Event, "default", "near.1", CancellationToken.None);

    private async Task<(long Count, string Message, string Last)> RepeatAsync()
    {
        var one = await EventAsync();
        return (one.Number(0, "count"), one.Text("message"), one.Text("lastTimestamp"));
    }

    private async Task PatchEventAsync(JsonNode patch)
    {
        var about = JsonNode.Parse("""{"metadata":{"name":"near.1","namespace":"default"},"involvedObject":{"kind":"Pod","namespace":"default","name":"near"}}""");
        await _edge.SendAsync("edged", "meta", "patch", "default/event/near.1", new JsonObject { ["event"] = about, ["patchData"] = patch });
        // The same lane, and nothing that is counted: its answer comes after the event was dealt with.
        await _edge.AskAsync("patch", "default/podpatch/near.1", JsonValue.Create("{}"));
    }

    private static Task CreateTaskOfAsync(Support.Cloud cloud, string node) => cloud.CreateAsync(TaskKind.ImagePrePull.Resource, (JsonObject)JsonNode.Parse("""
        {"metadata":{"name":"warm"},"spec":{"imagePrePullTemplate":{"images":["x:1"],"nodeNames":["NODE"]}},
        "status":{"phase":"InProgress","nodeStatus":[{"nodeName":"NODE","phase":"InProgress"}]}}
        """.Replace("NODE", node, StringComparison.Ordinal))!);

    private static Task<Message> ReportTaskAsync(FakeEdge edge, string node) => edge.SendAsync(
        Sources.WebSocket, NodeTaskWire.HubGroup, NodeTaskWire.Report, $"operations.kubeedge.io/v1alpha2/imageprepulljob/warm/node/{node}",
        JsonNode.Parse(new NodeTaskReport("Pull", true, "2026-01-01T00:00:00Z", "", "").Write()));

    private static JsonNode? Status(JsonNode? answer) => answer.At("Err", "ErrStatus") ?? answer.At("ErrStatus");
}

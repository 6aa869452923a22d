using System.Text.Json.Nodes;
using Edge.Cloud.Configuration;
using Edge.Cloud.Gslb.Module;
using Edge.Cloud.NodeGroups;
using Edge.Cloud.NodeTasks;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Testing;
using Xunit.Abstractions;

namespace Edge.Cloud.Tests.Roles;

/// <summary>The roles of manifests/cloudcore are what cloudcore needs: it works with them alone, and they hold little that it does not use.</summary>
[Trait("Category", "Kubernetes")]
public sealed class RolesTests(ITestOutputHelper output) : IDisposable
{
    // Rights whose use takes what is not staged here, with what that is. A right that is in neither is one that cloudcore does not need.
    private static readonly Dictionary<string, string> s_unstaged = new()
    {
        ["create pods"] = "mirror pods of static pods", ["update events"] = "an edge's update of one",
        ["list customresourcedefinitions"] = "an EdgeApplication with a custom kind",
        ["get pods"] = "a doubt of a comparison", ["get devices"] = "a doubt", ["get devicemodels"] = "a doubt", ["get services"] = "a doubt", ["get endpointslices"] = "a doubt", ["get runtimeclasses"] = "a doubt",
        ["get globalservices"] = "a doubt, or a status", ["get zones"] = "a status", ["get locationmaps"] = "a status", ["get rules"] = "a status",
        ["patch zones/status"] = "a Zone", ["patch globalservices/status"] = "a GlobalService", ["patch locationmaps/status"] = "a LocationMap", ["patch rules"] = "the status of a Rule",
        ["get objectsyncs"] = "records of a stock edge that others wrote too", ["get clusterobjectsyncs"] = "as objectsyncs", ["patch objectsyncs"] = "a change of a record",
        ["patch clusterobjectsyncs"] = "as objectsyncs", ["delete clusterobjectsyncs"] = "a node that went", ["delete objectsyncs"] = "an object that went",
        ["patch objectsyncs/status"] = "a change of a record", ["patch clusterobjectsyncs/status"] = "as objectsyncs", ["create clusterobjectsyncs"] = "a node as a stock edge has it",
        ["create objectsyncs"] = "an object as a stock edge has it",
        ["delete devicestatuses"] = "the end of a device's report", ["delete secrets"] = "tokens that were revoked or expired", ["update secrets"] = "the renewal of the token",
        ["watch secrets"] = "a change of its own", ["list secrets"] = "the leader's look for expired tokens", ["patch edgeapplications"] = "bookkeeping", ["patch nodegroups"] = "the finalizer",
        ["update edgeapplications/finalizers"] = "the owner of a workload, where the API asks for it", ["update devices/finalizers"] = "the owner of a DeviceStatus, so too",
    };

    private readonly TempDirectory _data = new();

    public void Dispose() => _data.Dispose();

    [Fact]
    public async Task Cloudcore_works_with_its_roles_alone()
    {
        // The definitions are the administrator's work: edgectl init, or helm.
        await using (await WholeCloud.StartAsync(_data.Path))
        {
        }

        var roles = new RoleCheckedKube();
        var options = WholeCloud.Options with
        {
            IsTaskManagerEnabled = true,
            SecretRefresh = TimeSpan.FromMilliseconds(500),
            Router = new RouterOptions { Listen = new ListenOn(true, "127.0.0.1", 0, "modules.router.port") },
            Gslb = new GslbOptions { IsEnabled = true, Address = "127.0.0.1", Port = 0 },
        };
        await using (var cloud = await WholeCloud.StartAsync(_data.Path, options, roles))
        {
            using var certificate = await cloud.EnrolAsync("edge-1");
            await using var edge = await FakeEdge.ConnectAsync(cloud.Ports.WebSocket, "edge-1", certificate);
            await edge.AskAsync("insert", "null/node/edge-1", Support.Cloud.NodeOf("edge-1"));
            await edge.AskAsync("insert", "null/node/edge-1", Support.Cloud.NodeOf("edge-1"));
            await edge.AskAsync("query", "null/node/edge-1");
            await edge.AskAsync("patch", "null/nodepatch/edge-1", JsonValue.Create("""{"status":{"conditions":[{"type":"Ready","status":"True"}]}}"""));
            var lease = new JsonObject { ["metadata"] = new JsonObject { ["name"] = "edge-1" }, ["spec"] = new JsonObject { ["holderIdentity"] = "edge-1", ["leaseDurationSeconds"] = 40 } };
            var made = await edge.AskAsync("insert", "kube-node-lease/lease/edge-1", lease);
            await edge.AskAsync("update", "kube-node-lease/lease/edge-1", made.At("Object")!.DeepClone());
            await edge.AskAsync("patch", "kube-node-lease/lease/edge-1", new JsonObject { ["spec"] = new JsonObject { ["renewTime"] = "2026-01-01T00:00:00.000000Z" } });
            await edge.AskAsync("query", "kube-node-lease/lease/edge-1");

            await cloud.CreateAsync(ResourceKind.ConfigMap, """{"metadata":{"name":"app"},"data":{"key":"1"}}""");
            await cloud.CreateAsync(ResourceKind.Secret, """{"metadata":{"name":"cred"},"stringData":{"key":"1"}}""");
            var pod = await cloud.CreateAsync(ResourceKind.Pod, """
                {"metadata":{"name":"web"},"spec":{"nodeName":"edge-1","containers":[{"name":"main","image":"busybox","envFrom":[{"secretRef":{"name":"cred"}}]}],
                 "volumes":[{"name":"cfg","configMap":{"name":"app"}},{"name":"data","persistentVolumeClaim":{"claimName":"data"}}]}}
                """);
            await edge.UntilAsync(Operations.Insert, "default/pod/web");
            await edge.UntilAsync(Operations.Update, "default/secret/cred");
            await cloud.Kube.PatchAsync(ResourceKind.Secret, "default", "cred", PatchKind.Merge, """{"stringData":{"key":"2"}}"""u8.ToArray(), null, CancellationToken.None);
            await edge.UntilAsync(message => message.Resource == "default/secret/cred" && FakeEdge.Content(message).Text("data", "key") == "Mg==");
            await edge.AskAsync("query", "default/configmap/app");
            await edge.AskAsync("query", "default/secret/cred");
            await edge.AskAsync("query", "default/persistentvolumeclaim/data");
            await edge.AskAsync("query", "null/persistentvolume/data");
            await edge.AskAsync("query", "default/serviceaccounttoken/default", new JsonObject
            {
                ["spec"] = new JsonObject { ["boundObjectRef"] = new JsonObject { ["kind"] = "Pod", ["name"] = "web", ["uid"] = pod.Uid() }, ["expirationSeconds"] = 3600 },
            });
            await edge.AskAsync("patch", "default/podpatch/web", JsonValue.Create(new JsonObject { ["metadata"] = new JsonObject { ["uid"] = pod.Uid() }, ["status"] = new JsonObject { ["phase"] = "Running" } }.ToJsonString()));
            await edge.SendAsync(Sources.Edged, Groups.Meta, Operations.Insert, "default/event/e1", JsonNode.Parse(
                """{"metadata":{"name":"e1","namespace":"default"},"involvedObject":{"kind":"Pod","namespace":"default","name":"web"},"reason":"Started","message":"m","type":"Normal"}"""));
            await cloud.UntilAsync(ResourceKind.Event, "the pod's event", one => one.Name() == "e1");
            await edge.SendAsync(Sources.Edged, Groups.Meta, Operations.Patch, "default/event/e1", JsonNode.Parse(
                """{"event":{"metadata":{"name":"e1","namespace":"default"},"involvedObject":{"kind":"Pod","namespace":"default","name":"web"}},"patchData":{"message":"once more"}}"""));
            await cloud.UntilAsync(ResourceKind.Event, "the pod's event changed", one => one.Name() == "e1" && one.Text("message") == "once more");
            await edge.AskAsync("delete", "default/pod/web", new JsonObject { ["preconditions"] = new JsonObject { ["uid"] = pod.Uid() } });

            await cloud.CreateAsync(ResourceKind.DeviceModel, """{"metadata":{"name":"m"},"spec":{"properties":[{"name":"temperature","type":"INT","accessMode":"ReadWrite"}]}}""");
            await cloud.CreateAsync(ResourceKind.Device, """{"metadata":{"name":"thermo"},"spec":{"nodeName":"edge-1","deviceModelRef":{"name":"m"},"properties":[{"name":"temperature","desired":{"value":"30"}}]}}""");
            await edge.UntilAsync(Operations.Insert, "default/device/thermo");
            await edge.SendAsync(Sources.Twin, Groups.Resource, Operations.Update, "device/default/thermo/twin/edge_updated", JsonNode.Parse(
                """{"event_id":"1","timestamp":2,"twin":{"temperature":{"actual":{"value":"5","metadata":{"timestamp":2}},"metadata":{"type":"int"}}}}"""));
            await cloud.UntilAsync(ResourceKind.DeviceStatus, "the report of thermo", one => one.Name() == "thermo" && one.Items("status", "twins").Any());

            foreach (var kind in TaskKind.All)
                await cloud.CreateAsync(kind.Resource, """{"metadata":{"name":"job"},"spec":{}}""");
            foreach (var kind in TaskKind.All)
                await cloud.UntilAsync(kind.Resource, "its status", one => one.Text("status", "phase") == "Failure");
            await cloud.CreateAsync(AppKinds.NodeGroup, """{"metadata":{"name":"town"},"spec":{"nodes":["edge-1"]}}""");
            await cloud.UntilAsync(ResourceKind.Node, "edge-1 in its group", one => one.Label(AppKinds.BelongingTo) == "town");
            await cloud.CreateAsync(AppKinds.EdgeApplication, """
                {"metadata":{"name":"shop"},"spec":{"workloadTemplate":{"manifests":[{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"shop"},"spec":{"replicas":0,
                 "selector":{"matchLabels":{"app":"shop"}},"template":{"metadata":{"labels":{"app":"shop"}},"spec":{"containers":[{"name":"a","image":"b"}]}}}}]},
                 "workloadScope":{"targetNodeGroups":[{"name":"town"}]}}}
                """);
            await cloud.UntilAsync(AppKinds.Deployment, "the Deployment of the group", one => one.Name() == "shop-town");
            await cloud.UntilAsync(AppKinds.EdgeApplication, "its status", one => one.Items("status", "workloadStatus").Any());
            await cloud.Kube.DeleteAsync(AppKinds.EdgeApplication, "default", "shop", null, CancellationToken.None);
            await cloud.Kube.DeleteAsync(AppKinds.NodeGroup, null, "town", null, CancellationToken.None);
            await cloud.UntilAsync(ResourceKind.Node, "edge-1 in no group", one => one.Name() == "edge-1" && one.Label(AppKinds.BelongingTo) is null);
            await cloud.Kube.DeleteAsync(ResourceKind.Device, "default", "thermo", null, CancellationToken.None);
            await edge.UntilAsync(Operations.Delete, "default/device/thermo");
        }

        // A restart reads what the first run stored.
        await using (await WholeCloud.StartAsync(_data.Path, options, roles))
        {
        }

        foreach (var unused in roles.Unused)
            output.WriteLine("not used here: " + unused);
        Assert.Empty(roles.Denied);
        Assert.DoesNotContain(roles.Unused, one => !one.StartsWith("cloudcore-edgeapplications", StringComparison.Ordinal)
            && !s_unstaged.ContainsKey(one[(one.IndexOf(": ", StringComparison.Ordinal) + 2)..].Split('.')[0]));
    }

    [Fact]
    public async Task What_the_roles_do_not_grant_is_refused_and_noted()
    {
        var roles = new RoleCheckedKube();
        roles.Over(new FakeKube());
        await Assert.ThrowsAsync<KubeException>(() => roles.DeleteAsync(ResourceKind.Secret, "default", "x", null, CancellationToken.None));
        await Assert.ThrowsAsync<KubeException>(() => roles.UpdateAsync(ResourceKind.Lease, "default", [], null, CancellationToken.None));
        Assert.Equal(["delete secrets in default", "update leases.coordination.k8s.io in default"], roles.Denied);
        Assert.Contains("cloudcore: watch configmaps", roles.Unused);
    }
}

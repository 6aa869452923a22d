using System.Text.Json.Nodes;
using Edge.Cloud.EdgeController;
using Edge.Cloud.SyncController;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Cloud.Tests;

[Trait("Category", "Sync")]
public sealed class PodPlacementTests
{
    private readonly PodPlacement _placement = new();
    private readonly List<string> _uses = [];
    private int _version = 10;

    [Fact]
    public void What_a_pods_ephemeral_container_refers_to_goes_to_its_node()
    {
        Config("tools");
        Assert.Equal(["default/pod/web"], Pod("""{"nodeName":"n1","containers":[]}"""));
        Assert.Equal(["default/pod/web"], Pod("""{"nodeName":"n1","containers":[],"tolerations":[]}"""));
        const string Debug = """{"nodeName":"n1","containers":[],"ephemeralContainers":[{"name":"d","envFrom":[{"configMapRef":{"name":"tools"}}]}]}""";
        Assert.Equal(["default/configmap/tools", "default/pod/web"], Pod(Debug));
        Assert.Empty(Pod(Debug)); // a new version that says the same
        Assert.True(_placement.Uses("n1", new ConfigKey(ResourceTypes.ConfigMap, "default", "tools")));
    }

    [Fact]
    public void Pod_made_again_under_its_name_has_references_of_its_own()
    {
        Config("one");
        Config("two");
        Assert.Equal(["default/configmap/one", "default/pod/web"], Pod(Using("one")));
        Assert.Equal(["default/pod/web", "default/configmap/one", "default/configmap/two", "default/pod/web"], Pod(Using("two"), uid: "u-2"));
        Assert.False(_placement.Uses("n1", new ConfigKey(ResourceTypes.ConfigMap, "default", "one")));
        Assert.Equal(["default/configmap/two"], Config("two", "changed"));
    }

    [Fact]
    public void ConfigMap_of_many_nodes_is_one_body_whose_bytes_are_those_of_the_watch()
    {
        const int Nodes = 50;
        for (var i = 0; i < Nodes; i++)
            Pod(Using("shared").Replace("n1", $"n{i}", StringComparison.Ordinal), $"u-{i}", $"web-{i}");
        var (change, outputs) = (Change(ConfigMap("shared", "one")), new List<PlacementOutput>());
        _placement.ConfigChanged(ResourceTypes.ConfigMap, change, outputs);
        var bodies = outputs.OfType<PlacementOutput.Deliver>().Select(deliver => deliver.Object.Body).ToList();
        Assert.Equal(Nodes, bodies.Count);
        Assert.All(bodies, body => Assert.Same(bodies[0], body));
        Assert.Equal(change.Text.Utf8, bodies[0].Content.Utf8); // the same memory, not merely the same text
    }

    [Fact]
    public void Secrets_are_used_while_a_pod_of_an_edge_node_names_them_and_not_for_pods_of_others()
    {
        const string Naming = """{"nodeName":"n1","containers":[{"name":"a","envFrom":[{"secretRef":{"name":"s"}},{"configMapRef":{"name":"c"}}]}]}""";
        Assert.Empty(Uses(() => Pod(Naming)));
        Assert.Equal(["used s"], Uses(() => Node("n1", isEdge: true)));
        Assert.Empty(Uses(() => Node("n1", isEdge: true)));
        Assert.Empty(Uses(() => Node("n2", isEdge: true)));
        Assert.Empty(Uses(() => Pod(Naming.Replace("n1", "n2", StringComparison.Ordinal), "u-2", "other")));
        Assert.Empty(Uses(() => Node("n2", isEdge: false)));
        Assert.False(_placement.Drop(new ConfigKey(ResourceTypes.Secret, "default", "s")));
        Assert.Equal(["unused s"], Uses(() => Node("n1", isEdge: false)));
        Assert.True(_placement.Drop(new ConfigKey(ResourceTypes.Secret, "default", "s"))); // pods name it still, on nodes that are no edges

        Assert.Equal(["used s"], Uses(() => Node("n1", isEdge: true)));
        Assert.Equal(["unused s"], Uses(() => Pod("""{"nodeName":"n1","containers":[]}""", uid: "u-3")));
        Assert.Equal(["used s"], Uses(() => Pod(Naming, "u-4", "again")));
    }

    private List<string> Uses(Action act)
    {
        _uses.Clear();
        act();
        return [.. _uses];
    }

    private void Node(string name, bool isEdge)
    {
        var outputs = new List<PlacementOutput>();
        var labels = new JsonObject();
        if (isEdge)
            labels[PodPlacement.EdgeRoleLabel] = "";
        _placement.NodeChanged(Change(new JsonObject
        {
            ["kind"] = "Node", ["apiVersion"] = "v1", ["metadata"] = new JsonObject { ["name"] = name, ["uid"] = name, ["resourceVersion"] = $"{++_version}", ["labels"] = labels },
        }), outputs);
        Paths(outputs);
    }

    private static string Using(string config) => $$$"""{"nodeName":"n1","containers":[{"name":"a","envFrom":[{"configMapRef":{"name":"{{{config}}}"}}]}]}""";

    private List<string> Config(string name, string data = "")
    {
        var outputs = new List<PlacementOutput>();
        _placement.ConfigChanged(ResourceTypes.ConfigMap, Change(ConfigMap(name, data)), outputs);
        return Paths(outputs);
    }

    private JsonObject ConfigMap(string name, string data) => new()
    {
        ["kind"] = "ConfigMap", ["apiVersion"] = "v1",
        ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = "default", ["uid"] = $"c-{name}", ["resourceVersion"] = $"{++_version}" },
        ["data"] = new JsonObject { ["key"] = data },
    };

    private List<string> Pod(string spec, string uid = "u-1", string name = "web")
    {
        var outputs = new List<PlacementOutput>();
        _placement.PodChanged(Change(new JsonObject
        {
            ["kind"] = "Pod", ["apiVersion"] = "v1",
            ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = "default", ["uid"] = uid, ["resourceVersion"] = $"{++_version}" },
            ["spec"] = JsonNode.Parse(spec),
        }), outputs);
        return Paths(outputs);
    }

    // As a watch of a server brings it: bytes.
    private static ObjectChange Change(JsonObject obj)
    {
        var line = new JsonObject { ["type"] = "MODIFIED", ["object"] = obj }.ToJsonString();
        var change = WatchLines.Parse(new(System.Text.Encoding.UTF8.GetBytes(line)), ResourceKind.Pod)!;
        Assert.False(change.Text.Utf8.IsEmpty);
        return new ObjectChange(ChangeType.Updated, change.Text, null);
    }

    private List<string> Paths(List<PlacementOutput> outputs)
    {
        _uses.AddRange(outputs.Select(output => output switch { PlacementOutput.Used used => $"used {used.Key.Name}", PlacementOutput.Unused unused => $"unused {unused.Key.Name}", _ => "" }).Where(use => use.Length > 0));
        return [.. outputs.OfType<PlacementOutput.Deliver>().Select(deliver => deliver.Object.Resource)];
    }
}

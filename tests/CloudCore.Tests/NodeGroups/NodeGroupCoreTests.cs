using System.Text.Json.Nodes;
using Edge.Cloud.NodeGroups;
using Edge.Kubernetes;

namespace Edge.Cloud.Tests.NodeGroups;

/// <summary>Which node belongs to which group.</summary>
[Trait("Category", "Unit")]
public sealed class NodeGroupCoreTests
{
    [Fact]
    public void Nodes_are_selected_by_name_and_by_all_of_the_labels()
    {
        var plan = NodeGroupCore.Plan(
            [Group("town", """{"nodes": ["a"], "matchLabels": {"town": "h", "kind": "shop"}}""")],
            [Node("a"), Node("b", """{"town": "h", "kind": "shop"}"""), Node("c", """{"town": "h"}""")]);

        Assert.Equal(["a town", "b town"], plan.Nodes.Select(Text));
        Assert.Equal(["a Ready Succeeded ", "b Ready Succeeded "], Statuses(plan, "town"));
    }

    [Fact]
    public void Group_without_names_and_labels_selects_nobody()
        => Assert.Empty(NodeGroupCore.Plan([Group("town", "{}"), Group("other", """{"matchLabels": {}}""")], [Node("a")]).Nodes);

    [Fact]
    public void Node_of_two_groups_stays_where_it_is_and_the_other_is_told()
    {
        var groups = new[] { Group("first", """{"nodes": ["a"]}"""), Group("second", """{"nodes": ["a"]}""") };

        var plan = NodeGroupCore.Plan(groups, [Node("a", """{"apps.kubeedge.io/belonging-to": "second"}""")]);

        Assert.Empty(plan.Nodes);
        Assert.Equal(["a Ready Failed node a has already belonged to NodeGroup second"], Statuses(plan, "first"));
        Assert.Equal(["a Ready Succeeded "], Statuses(plan, "second"));
    }

    [Fact]
    public void Node_that_two_groups_select_anew_goes_to_the_older_one()
        => Assert.Equal("a old", Text(NodeGroupCore.Plan(
            [Group("new", """{"nodes": ["a"]}""", "2026-02-01T00:00:00Z"), Group("old", """{"nodes": ["a"]}""", "2026-01-01T00:00:00Z")], [Node("a")]).Nodes.Single()));

    [Fact]
    public void Node_that_is_no_longer_selected_leaves()
    {
        var change = NodeGroupCore.Plan([Group("town", """{"nodes": ["b"]}""")], [Node("a", """{"apps.kubeedge.io/belonging-to": "town"}"""), Node("b")]).Nodes[0];

        Assert.Equal(("a", "town"), (change.Node, change.Left));
        Assert.Null(change.Labels["apps.kubeedge.io/belonging-to"]);
    }

    [Fact]
    public void Nodes_of_a_group_that_is_being_deleted_leave_or_go_to_the_next()
    {
        var going = Group("going", """{"nodes": ["a", "b"]}""");
        going.Child("metadata")["deletionTimestamp"] = "2026-01-01T00:00:00Z";

        var plan = NodeGroupCore.Plan(
            [going, Group("stays", """{"nodes": ["b"]}""")],
            [Node("a", """{"apps.kubeedge.io/belonging-to": "going"}"""), Node("b", """{"apps.kubeedge.io/belonging-to": "going"}""")]);

        Assert.Equal(["a ", "b stays"], plan.Nodes.Select(Text));
        Assert.All(plan.Nodes, change => Assert.Equal("going", change.Left));
        Assert.True(plan.Groups.Single(group => group.Name == "going").IsGoing);
    }

    [Fact]
    public void Label_that_names_no_group_of_ours_stays()
        => Assert.Empty(NodeGroupCore.Plan([Group("town", "{}")], [Node("a", """{"apps.kubeedge.io/belonging-to": "by-hand"}""")]).Nodes);

    [Fact]
    public void Missing_node_and_one_that_is_not_ready_show_in_the_status()
    {
        var plan = NodeGroupCore.Plan([Group("town", """{"nodes": ["gone", "a", "b"]}""")], [Node("a", "{}", "False"), Node("b", "{}", "")]);

        Assert.Equal(["a NotReady Succeeded ", "b Unknown Succeeded ", "gone Unknown Failed node does not exist"], Statuses(plan, "town"));
    }

    [Theory]
    [InlineData("{}", "town")]
    [InlineData("""{"topology.kubernetes.io/zone": "somebody-elses"}""", null)]
    public void Zone_is_given_where_there_is_none(string labels, string? expected)
    {
        var change = NodeGroupCore.Plan([Group("town", """{"nodes": ["a"], "topologyEnabled": true}""")], [Node("a", labels)]).Nodes.Single();

        Assert.Equal(expected, change.Labels.GetValueOrDefault("topology.kubernetes.io/zone"));
    }

    [Fact]
    public void Zone_goes_with_the_group_that_gave_it()
    {
        var labels = """{"apps.kubeedge.io/belonging-to": "town", "topology.kubernetes.io/zone": "town"}""";

        var change = NodeGroupCore.Plan([Group("town", """{"nodes": [], "topologyEnabled": true}""")], [Node("a", labels)]).Nodes.Single();

        Assert.Equal(2, change.Labels.Count);
        Assert.All(change.Labels.Values, Assert.Null);
    }

    [Fact]
    public void Plan_that_was_carried_out_has_nothing_left_to_do()
    {
        var random = new Random(7);
        for (var round = 0; round < 200; round++)
        {
            var groups = Enumerable.Range(0, 4).Select(i => Group($"g{i}", $$"""{"nodes": ["n{{random.Next(6)}}", "n{{random.Next(6)}}"], "matchLabels": {"l": "{{random.Next(3)}}"}, "topologyEnabled": {{(random.Next(2) == 0 ? "true" : "false")}}}""")).ToList();
            var nodes = Enumerable.Range(0, 6).Select(i => Node($"n{i}", $$"""{"l": "{{random.Next(4)}}", "apps.kubeedge.io/belonging-to": "g{{random.Next(5)}}"}""")).ToList();
            foreach (var change in NodeGroupCore.Plan(groups, nodes).Nodes)
            {
                var present = nodes.Single(node => node.Name() == change.Node).Child("metadata").Child("labels");
                foreach (var (key, value) in change.Labels)
                {
                    if (value is null)
                        present.Remove(key);
                    else
                        present[key] = value;
                }
            }

            Assert.Empty(NodeGroupCore.Plan(groups, nodes).Nodes);
        }
    }

    private static string Text(NodeLabels change) => $"{change.Node} {change.Labels["apps.kubeedge.io/belonging-to"]}";

    private static IEnumerable<string> Statuses(NodeGroupPlan plan, string group)
        => plan.Groups.Single(one => one.Name == group).NodeStatuses.Select(
            one => $"{one.Text("nodeName")} {one.Text("readyStatus")} {one.Text("selectionStatus")} {one.Text("selectionStatusReason")}");

    private static JsonObject Group(string name, string spec, string created = "2026-01-01T00:00:00Z")
        => new() { ["metadata"] = new JsonObject { ["name"] = name, ["creationTimestamp"] = created }, ["spec"] = JsonNode.Parse(spec) };

    private static JsonObject Node(string name, string labels = "{}", string ready = "True") => new()
    {
        ["metadata"] = new JsonObject { ["name"] = name, ["labels"] = JsonNode.Parse(labels) },
        ["status"] = new JsonObject { ["conditions"] = ready.Length == 0 ? new JsonArray() : new JsonArray(new JsonObject { ["type"] = "Ready", ["status"] = ready }) },
    };
}

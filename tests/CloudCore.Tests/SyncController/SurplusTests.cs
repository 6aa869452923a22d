using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.SyncController;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;

namespace Edge.Cloud.Tests;

[Trait("Category", "Sync")]
public sealed class SurplusTests
{
    private readonly List<SessionOutput> _outputs = [];
    private int _ids;

    [Fact]
    public void What_a_node_has_beyond_its_needs_may_come_back_while_its_delete_is_unanswered()
    {
        var surplus = Assert.Single(Compare().Remove);
        Assert.False(surplus.IsFinal);
        var session = new NodeSession(new SessionLimits(), () => $"m{++_ids}");
        session.Step(new SessionInput.Open(), _outputs);
        session.Step(new SessionInput.Deliver(surplus), _outputs);
        session.Step(new SessionInput.Tick(0, 16), _outputs);
        session.Step(new SessionInput.Deliver(Config("u1", 5, Operations.Update)), _outputs);
        session.Step(new SessionInput.Ack("m1"), _outputs);
        session.Step(new SessionInput.Tick(1, 16), _outputs);
        Assert.Equal(["delete", "update"], _outputs.OfType<SessionOutput.SendObject>().Select(send => send.Object.Operation));
    }

    [Fact]
    public void What_another_object_of_the_same_name_replaces_is_gone_for_good_since_before_that_one()
    {
        var surplus = Assert.Single(Compare(Config("u2", 9, Operations.Update)).Remove);
        Assert.Equal((true, 10L), (surplus.IsFinal, surplus.Version));
    }

    [Fact]
    public void What_a_stock_edge_has_at_a_lower_version_goes_as_an_update_and_what_it_lacks_as_an_insert()
    {
        Assert.Equal(Operations.Update, OperationOf(Config("u1", 6, Operations.Insert)));
        Assert.Equal(Operations.Insert, OperationOf(Config("u2", 9, Operations.Insert)));

        static string OperationOf(DownObject wanted)
            => Assert.Single(Inventory.Compare(new InventoryPart(1, [0], [new InventoryItem("default/configmap/a", "u1", 5, 0)]), [wanted], _ => false, trustsVersions: true).Send).Operation;
    }

    [Fact]
    public void A_final_delete_is_above_every_state_of_its_object()
    {
        Assert.Equal(6, Config("u1", 5, Operations.Delete, isFinal: true).Version);
        Assert.Equal(5, Config("u1", 5, Operations.Delete).Version);
        Assert.Equal(6, DownObject.Gone("default/pod/web", "u1", 5, Sources.EdgeController, isFinal: true).Version);
        Assert.Equal(5, DownObject.Gone("default/pod/web", "u1", 5, Sources.EdgeController, isFinal: false).Version);
    }

    private static InventoryDifference Compare(params DownObject[] wanted)
        => Inventory.Compare(new InventoryPart(1, [0], [new InventoryItem("default/configmap/a", "u1", 5, 7)]), wanted, _ => false);

    private static DownObject Config(string uid, long version, string operation, bool isFinal = false)
    {
        var metadata = new JsonObject { ["name"] = "a", ["namespace"] = "default", ["uid"] = uid, ["resourceVersion"] = $"{version}" };
        return DownObject.Of(ResourceKind.ConfigMap, ResourceTypes.ConfigMap, operation, Sources.EdgeController, new ObjectBody(new JsonObject { ["metadata"] = metadata }), isFinal);
    }
}

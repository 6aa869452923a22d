using System.Text.Json.Nodes;
using Edge.ApiServer.Controllers.GarbageCollection;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests;

[Trait("Category", "Kubernetes")]
public sealed class GcGraphTests
{
    private readonly GcGraph _graph = new();

    [Fact]
    public void Nothing_happens_while_the_owner_lives()
    {
        Put("owner");
        Put("child", owners: ["owner"]);
        Assert.Empty(Plan());
    }

    [Fact]
    public void An_owner_that_is_not_known_is_asked_for_before_its_dependents_go()
    {
        Put("child", owners: ["owner"]);
        Assert.Equal(["verify child/owner"], Plan());
        Assert.Empty(Plan());
        _graph.MarkAbsent("owner", "x");
        Assert.Equal(["delete child Background"], Plan());
    }

    [Fact]
    public void Dependents_of_dependents_go_one_after_the_other()
    {
        Put("a");
        Put("b", owners: ["a"]);
        Put("c", owners: ["b"]);
        Assert.Empty(Plan());
        Remove("a");
        Assert.Equal(["verify b/a"], Plan());
        _graph.MarkAbsent("a", "x");
        Assert.Equal(["delete b Background"], Plan());
        Remove("b");
        _graph.MarkAbsent("b", "x");
        Assert.Equal(["delete c Background"], Plan());
    }

    [Fact]
    public void One_living_owner_keeps_the_object_and_the_dead_one_is_struck_off()
    {
        Put("alive");
        Put("child", owners: ["alive", "dead"]);
        _graph.MarkAbsent("dead", "x");
        Assert.Equal(["drop child: dead"], Plan());
    }

    [Theory]
    [InlineData("""{"metadata":{"uid":"owner","namespace":"x","resourceVersion":"2","finalizers":[],"ownerReferences":[]},"status":{"n":1}}""", true)]
    [InlineData("""{"metadata":{"uid":"owner","namespace":"x","finalizers":["a/b"]}}""", false)]
    [InlineData("""{"metadata":{"uid":"owner","namespace":"x","deletionTimestamp":"2020-01-01T00:00:00Z"}}""", false)]
    [InlineData("""{"metadata":{"uid":"owner","namespace":"x","ownerReferences":[{"uid":"other"}]}}""", false)]
    [InlineData("""{"metadata":{"uid":"stranger","namespace":"x"}}""", false)]
    public void A_change_of_nothing_that_matters_to_it_is_taken_without_a_look(string state, bool isTaken)
    {
        Put("owner");
        Assert.Empty(Plan());
        Assert.Equal(isTaken, _graph.TryRefresh(new GcObject(ResourceKind.ConfigMap, Json.Object(state))));
        Assert.Empty(Plan());
    }

    [Fact]
    public void An_owner_in_another_namespace_is_none()
    {
        Put("owner", space: "y");
        Put("child", owners: ["owner"]);
        Assert.Equal(["verify child/owner"], Plan());
    }

    [Fact]
    public void A_cluster_scoped_owner_owns_in_every_namespace()
    {
        Put("node", space: "", kind: ResourceKind.Node);
        Put("child", owners: ["node"], ownerKind: "Node");
        Assert.Empty(Plan());
    }

    [Fact]
    public void Foreground_deletion_waits_for_the_dependents_that_block()
    {
        Put("owner", deleting: true, finalizers: [GcGraph.ForegroundFinalizer]);
        Put("blocks", owners: ["owner"], blocks: true);
        Put("loose", owners: ["owner"]);
        Assert.Equal(["delete blocks Background", "delete loose Background"], Plan());
        Put("blocks", owners: ["owner"], blocks: true, deleting: true, finalizers: ["hold"]);
        Assert.DoesNotContain(Plan(), action => action.StartsWith("finalize", StringComparison.Ordinal));
        Remove("blocks");
        Assert.Contains("finalize owner foregroundDeletion", Plan());
    }

    [Fact]
    public void Foreground_deletion_goes_on_in_the_foreground_below()
    {
        Put("a", deleting: true, finalizers: [GcGraph.ForegroundFinalizer]);
        Put("b", owners: ["a"], blocks: true);
        Put("c", owners: ["b"], blocks: true);
        Assert.Equal(["delete b Foreground"], Plan());
    }

    [Fact]
    public void A_dependent_that_someone_else_wants_is_let_go_by_a_foreground_deletion()
    {
        Put("a", deleting: true, finalizers: [GcGraph.ForegroundFinalizer]);
        Put("other");
        Put("b", owners: ["a", "other"], blocks: true);
        Assert.Equal(["drop b: a"], Plan());
        Put("b", owners: ["other"]);
        Assert.Equal(["finalize a foregroundDeletion"], Plan());
    }

    [Fact]
    public void Orphaning_frees_the_dependents_and_then_lets_the_owner_go()
    {
        Put("owner", deleting: true, finalizers: [GcGraph.OrphanFinalizer]);
        Put("child", owners: ["owner"]);
        Assert.Equal(["drop child: owner"], Plan());
        Put("child");
        Assert.Equal(["finalize owner orphan"], Plan());
        Remove("owner");
        Assert.Empty(Plan());
    }

    [Fact]
    public void A_deleted_object_without_dependents_is_finalized_at_once()
    {
        Put("owner", deleting: true, finalizers: [GcGraph.ForegroundFinalizer]);
        Assert.Equal(["finalize owner foregroundDeletion"], Plan());
    }

    [Fact]
    public void An_action_that_failed_is_planned_again()
    {
        Put("child", owners: ["owner"]);
        _graph.MarkAbsent("owner", "x");
        Assert.Single(Plan());
        Assert.Empty(Plan());
        _graph.Touch("child");
        Assert.Equal(["delete child Background"], Plan());
    }

    [Fact]
    public void Owners_in_a_circle_do_not_hang_the_plan()
    {
        Put("a", owners: ["b"], blocks: true, deleting: true, finalizers: [GcGraph.ForegroundFinalizer]);
        Put("b", owners: ["a"], blocks: true);
        Assert.Equal(["delete b Foreground"], Plan());
    }

    private void Put(
        string name, string[]? owners = null, bool blocks = false, bool deleting = false, string[]? finalizers = null, string space = "x", ResourceKind? kind = null, string ownerKind = "ConfigMap")
    {
        var metadata = new JsonObject { ["name"] = name, ["uid"] = name };
        if (space.Length > 0)
            metadata["namespace"] = space;
        if (deleting)
            metadata["deletionTimestamp"] = "t";
        metadata["finalizers"] = new JsonArray([.. (finalizers ?? []).Select(finalizer => (JsonNode)finalizer)]);
        metadata["ownerReferences"] = new JsonArray([.. (owners ?? []).Select(owner => new JsonObject { ["apiVersion"] = "v1", ["kind"] = ownerKind, ["name"] = owner, ["uid"] = owner, ["blockOwnerDeletion"] = blocks })]);
        _graph.Upsert(new GcObject(kind ?? ResourceKind.ConfigMap, new JsonObject { ["metadata"] = metadata }));
    }

    private void Remove(string uid) => _graph.Remove(uid);

    private List<string> Plan() => [.. _graph.Plan().Select(action => action switch
    {
        VerifyOwner verify => $"verify {verify.Target.Uid}/{verify.Owner.Uid}",
        DeleteObject delete => $"delete {delete.Target.Uid} {delete.Propagation}",
        DropOwners drop => $"drop {drop.Target.Uid}: {string.Join(',', drop.Uids)}",
        DropFinalizer drop => $"finalize {drop.Target.Uid} {drop.Finalizer}",
        _ => action.ToString()!,
    }).Order(StringComparer.Ordinal)];
}

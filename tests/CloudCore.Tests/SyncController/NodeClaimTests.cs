using System.Text.Json.Nodes;
using Edge.Cloud.SyncController;

namespace Edge.Cloud.Tests;

[Trait("Category", "Sync")]
public sealed class NodeClaimTests
{
    private static readonly CloudCoreIdentity s_own = new("192.0.2.1", "a");

    [Fact]
    public void Node_that_names_us_needs_no_write() => Assert.Equal(ClaimVerdict.Settled, new NodeClaim(s_own, Node(5, "a")).Look(Node(5, "a")));

    [Fact]
    public void Node_without_a_name_or_with_that_of_the_instance_before_is_written()
    {
        Assert.Equal(ClaimVerdict.Write, new NodeClaim(s_own, null).Look(Node(5, "")));
        Assert.Equal(ClaimVerdict.Write, new NodeClaim(s_own, Node(4, "b")).Look(Node(5, "b")));
        Assert.Equal(ClaimVerdict.Write, new NodeClaim(s_own, Node(4, "a")).Look(Node(4, "a", address: "192.0.2.9")));
    }

    [Fact]
    public void Another_name_after_our_claim_means_that_the_node_moved()
    {
        var claim = new NodeClaim(s_own, Node(4, "b"));
        claim.Look(Node(6, "a"));
        Assert.Equal(ClaimVerdict.Lost, claim.Look(Node(7, "b")));
    }

    [Fact]
    public void Older_version_that_names_another_proves_nothing()
    {
        var claim = new NodeClaim(s_own, Node(4, "b"));
        claim.Look(Node(6, "a"));
        Assert.Equal(ClaimVerdict.Settled, claim.Look(Node(5, "b")));
    }

    [Fact]
    public void Third_name_before_our_claim_was_written_means_that_the_node_moved_on()
        => Assert.Equal(ClaimVerdict.Lost, new NodeClaim(s_own, Node(4, "b")).Look(Node(5, "c")));

    [Fact]
    public void Name_that_somebody_took_away_is_written_again()
    {
        var claim = new NodeClaim(s_own, Node(4, "a"));
        claim.Look(Node(4, "a"));
        Assert.Equal(ClaimVerdict.Write, claim.Look(Node(5, "")));
    }

    private static JsonObject Node(long version, string instance, string address = "192.0.2.1")
    {
        var annotations = new JsonObject { ["cloudcore"] = address };
        if (instance.Length > 0)
            annotations[CloudCoreIdentity.IdAnnotation] = instance;
        return new JsonObject { ["metadata"] = new JsonObject { ["name"] = "n1", ["resourceVersion"] = $"{version}", ["annotations"] = annotations } };
    }
}

using Edge.Protocol.Messages;
using Edge.Transport;

namespace Edge.Protocol.Tests.Transport;

[Trait("Category", "Sync")]
public sealed class LinkLanesTests
{
    [Theory]
    [InlineData("websocket", "resource", "keepalive", "node", false, LinkLane.Control)]
    [InlineData("edged", "meta", "patch", "kube-node-lease/lease/edge-1", false, LinkLane.Control)]
    [InlineData("edgecontroller", "resource", "response", "kube-node-lease/lease/edge-1", true, LinkLane.Control)]
    [InlineData("edged", "meta", "insert", "null/node/edge-1", false, LinkLane.Control)]
    [InlineData("edged", "meta", "patch", "null/nodepatch/edge-1", false, LinkLane.Control)]
    [InlineData("edgecontroller", "resource", "response", "null/nodepatch/edge-1", true, LinkLane.Control)]
    [InlineData("edgecontroller", "resource", "update", "null/node/edge-1", false, LinkLane.Objects)]
    [InlineData("edgecontroller", "resource", "insert", "default/pod/web", false, LinkLane.Objects)]
    [InlineData("edgecontroller", "resource", "response", "default/pod/web", true, LinkLane.Objects)]
    [InlineData("devicecontroller", "resource", "update", "default/device/press", false, LinkLane.Objects)]
    [InlineData("metamanager", "resource", "get", "node/inventory", false, LinkLane.Objects)]
    [InlineData("cloudhub", "resource", "response", "node/inventory", true, LinkLane.Objects)]
    [InlineData("metamanager", "resource", "get", "node/inventory/objects", false, LinkLane.Objects)]
    [InlineData("edged", "meta", "query", "default/configmap/app", false, LinkLane.Objects)]
    [InlineData("edgecontroller", "resource", "response", "default/configmap/app", true, LinkLane.Objects)]
    [InlineData("twin", "resource", "update", "device/default/press/twin/edge_updated", false, LinkLane.User)]
    [InlineData("devicecontroller", "twin", "response", "twin", true, LinkLane.User)]
    [InlineData("devicecontroller", "twin", "update", "membership", false, LinkLane.User)]
    [InlineData("edged", "meta", "insert", "default/event/web.1", false, LinkLane.User)]
    [InlineData("bus", "user", "upload", "sensor/a", false, LinkLane.User)]
    [InlineData("", "", "x", "not a path", false, LinkLane.Objects)]
    public void Each_message_has_its_lane(string source, string group, string operation, string resource, bool isAnswer, LinkLane lane)
        => Assert.Equal(lane, LinkLanes.Of(Make(source, group, operation, resource, isAnswer)));

    /// <summary>Each row is said about one thing, one after the other; on one link nothing in it can overtake, and so it must not here.</summary>
    [Theory]
    [InlineData("edged meta patch default/podpatch/web", "edged meta patch default/podstatus/web", "edged meta delete default/pod/web")]
    [InlineData("edgecontroller resource insert default/configmap/app", "edgecontroller resource insert default/pod/web", "edgecontroller resource update null/node/edge-1")]
    [InlineData("edgecontroller resource response default/pod/web", "metamanager resource get node/inventory", "metamanager resource get node/inventory/objects")]
    [InlineData("cloudhub resource response node/inventory", "edgecontroller resource insert default/pod/web", "edgecontroller resource delete default/pod/web")]
    [InlineData("devicecontroller resource insert default/devicemodel/m", "devicecontroller resource insert default/device/d", "devicecontroller resource response default/device/d")]
    [InlineData("edged meta insert null/node/edge-1", "edged meta patch null/nodepatch/edge-1", "edged meta query null/node/edge-1")]
    [InlineData("twin resource update device/default/d/twin/edge_updated", "twin resource update device/default/d/state/update", "twin resource get membership/detail")]
    public void What_must_keep_its_order_shares_a_lane(params string[] messages)
    {
        var lanes = messages.Select(text => text.Split(' ')).Select(words => LinkLanes.Of(Make(words[0], words[1], words[2], words[3], words[2] == Operations.Response)));
        Assert.Single(lanes.Distinct());
    }

    [Fact]
    public void An_answer_takes_the_lane_of_its_question_where_it_copies_its_route()
    {
        foreach (var resource in (string[])["kube-node-lease/lease/a", "null/nodepatch/a", "default/podpatch/a", "default/event/a", "default/secret/a"])
        {
            var question = Make(Sources.Edged, Groups.Meta, Operations.Patch, resource, isAnswer: false);
            Assert.Equal(LinkLanes.Of(question), LinkLanes.Of(question.Response(TimeProvider.System, MessageCodec.Ok) with { Source = Sources.EdgeController, Group = Groups.Resource }));
        }
    }

    private static Message Make(string source, string group, string operation, string resource, bool isAnswer)
        => new() { Id = "1", ParentId = isAnswer ? "0" : "", Source = source, Group = group, Operation = operation, Resource = resource };
}

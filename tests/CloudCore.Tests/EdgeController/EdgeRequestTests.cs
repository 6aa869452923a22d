using System.Text.Json.Nodes;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;

namespace Edge.Cloud.Tests;

[Trait("Category", "Pods")]
public sealed class EdgeRequestTests : IAsyncLifetime
{
    private Support.Cloud _cloud = null!;
    private FakeEdge _edge = null!;

    public async Task InitializeAsync()
    {
        _cloud = await Support.Cloud.StartAsync();
        _edge = await _cloud.JoinAsync("edge-1");
    }

    public async Task DisposeAsync()
    {
        await _edge.DisposeAsync();
        await _cloud.DisposeAsync();
    }

    [Fact]
    public async Task Node_status_is_patched_from_a_json_string()
    {
        var answer = await _edge.AskAsync("patch", "null/nodepatch/edge-1", JsonValue.Create("""{"status":{"nodeInfo":{"kubeletVersion":"v1"}}}"""));
        Assert.Equal("v1", answer.Text("Object", "status", "nodeInfo", "kubeletVersion"));
        Assert.Null(answer!["Err"]);
    }

    [Theory]
    [InlineData("patch", "null/nodepatch/edge-2")]
    [InlineData("insert", "null/node/edge-2")]
    [InlineData("query", "kube-node-lease/lease/edge-2")]
    [InlineData("update", "default/lease/edge-1")]
    public async Task What_is_another_nodes_is_forbidden(string operation, string resource)
    {
        var answer = await _edge.AskAsync(operation, resource, JsonValue.Create("{}"));
        Assert.Equal("Forbidden", answer.Text("Err", "ErrStatus", "reason"));
        Assert.Equal(403, answer.Number(0, "Err", "ErrStatus", "code"));
    }

    [Fact]
    public async Task Status_of_another_nodes_pod_is_forbidden()
    {
        await _cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("web", "edge-2"));
        var answer = await _edge.AskAsync("patch", "default/podpatch/web", JsonValue.Create("""{"status":{"phase":"Running"}}"""));
        Assert.Equal("Forbidden", answer.Text("Err", "ErrStatus", "reason"));
    }

    [Fact]
    public async Task Status_of_an_own_pod_is_written()
    {
        var pod = await _cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("web", "edge-1"));
        var patch = new JsonObject { ["metadata"] = new JsonObject { ["uid"] = pod.Uid() }, ["status"] = new JsonObject { ["phase"] = "Running" } };
        var answer = await _edge.AskAsync("patch", "default/podpatch/web", JsonValue.Create(patch.ToJsonString()));
        Assert.Equal("Running", answer.Text("Object", "status", "phase"));
    }

    [Fact]
    public async Task Status_of_a_pod_that_was_recreated_is_a_conflict()
    {
        await _cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("web", "edge-1"));
        var answer = await _edge.AskAsync("patch", "default/podpatch/web", JsonValue.Create("""{"metadata":{"uid":"old"},"status":{"phase":"Failed"}}"""));
        Assert.Equal("Conflict", answer.Text("Err", "ErrStatus", "reason"));
    }

    [Fact]
    public async Task Status_of_a_pod_that_is_gone_is_not_found()
    {
        var answer = await _edge.AskAsync("patch", "default/podpatch/web", JsonValue.Create("""{"status":{}}"""));
        Assert.Equal("NotFound", answer.Text("Err", "ErrStatus", "reason"));
    }

    [Fact]
    public async Task Delete_of_a_pod_needs_its_uid_and_leaves_a_recreated_one_alone()
    {
        await _cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("web", "edge-1"));
        var without = await _edge.AskAsync("delete", "default/pod/web", new JsonObject());
        Assert.Equal("BadRequest", without.Text("ErrStatus", "reason"));
        var other = await _edge.AskAsync("delete", "default/pod/web", new JsonObject { ["preconditions"] = new JsonObject { ["uid"] = "old" } });
        Assert.Equal("OK", other!.GetValue<string>());
        Assert.NotNull(await _cloud.Kube.TryGetAsync(ResourceKind.Pod, "default", "web", CancellationToken.None));
    }

    [Fact]
    public async Task Delete_of_a_pod_that_is_gone_is_done()
    {
        var answer = await _edge.AskAsync("delete", "default/pod/web", JsonValue.Create("some-uid"));
        Assert.Equal("OK", answer!.GetValue<string>());
    }

    [Fact]
    public async Task Lease_is_made_read_and_renewed()
    {
        var missing = await _edge.AskAsync("query", "kube-node-lease/lease/edge-1");
        Assert.Equal("NotFound", missing.Text("Err", "ErrStatus", "reason"));
        var lease = JsonNode.Parse("""{"metadata":{"name":"edge-1","namespace":"kube-node-lease","creationTimestamp":null},"spec":{"holderIdentity":"edge-1"}}""")!;
        var made = (await _edge.AskAsync("insert", "kube-node-lease/lease/edge-1", lease))!["Object"]!.AsObject();
        made["spec"]!["leaseDurationSeconds"] = 40;
        var renewed = await _edge.AskAsync("update", "kube-node-lease/lease/edge-1", made.DeepClone());
        Assert.Equal(40, renewed.Number(0, "Object", "spec", "leaseDurationSeconds"));
        var stale = await _edge.AskAsync("update", "kube-node-lease/lease/edge-1", made.DeepClone());
        Assert.Equal("Conflict", stale.Text("Err", "ErrStatus", "reason"));
    }

    [Fact]
    public async Task Secret_that_an_own_pod_uses_is_answered_bare_with_its_version()
    {
        await _cloud.CreateAsync(ResourceKind.Secret, Support.Cloud.Config("cred"));
        await _cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("web", "edge-1", new JsonObject { ["imagePullSecrets"] = new JsonArray(new JsonObject { ["name"] = "cred" }) }));
        var answer = await _edge.AskAsync("query", "default/secret/cred");
        Assert.Equal(("Secret", "cred"), (answer.Text("kind"), answer.Text("metadata", "name")));
        Assert.Contains(_edge.Received, message => message.Resource == "default/secret/cred" && message.ParentId.Length > 0 && message.ResourceVersion == answer.Text("metadata", "resourceVersion"));
    }

    [Fact]
    public async Task Token_is_given_only_for_an_own_pod_and_its_account()
    {
        var pod = await _cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("web", "edge-1"));
        JsonNode Ask(string uid) => JsonNode.Parse("""{"spec":{"expirationSeconds":3607,"boundObjectRef":{"kind":"Pod","name":"web","uid":"UID"}}}""".Replace("UID", uid, StringComparison.Ordinal))!;
        Assert.Equal("token-of-default", (await _edge.AskAsync("query", "default/serviceaccounttoken/default", Ask(pod.Uid()))).Text("status", "token"));
        Assert.Equal("Forbidden", (await _edge.AskAsync("query", "default/serviceaccounttoken/admin", Ask(pod.Uid()))).Text("ErrStatus", "reason"));
        Assert.Equal("Forbidden", (await _edge.AskAsync("query", "default/serviceaccounttoken/default", Ask("other"))).Text("ErrStatus", "reason"));
    }

    [Fact]
    public async Task A_claim_and_its_volume_are_given_only_to_the_node_of_a_pod_that_uses_it()
    {
        JsonObject Claiming(string claim) => new() { ["volumes"] = new JsonArray(new JsonObject { ["name"] = "data", ["persistentVolumeClaim"] = new JsonObject { ["claimName"] = claim } }) };
        JsonObject Claim(string name, string volume) => (JsonObject)JsonNode.Parse("""{"metadata":{"name":"NAME","namespace":"default"},"spec":{"volumeName":"VOLUME"},"status":{"phase":"Bound"}}""".Replace("NAME", name, StringComparison.Ordinal).Replace("VOLUME", volume, StringComparison.Ordinal))!;
        JsonObject Volume(string name, string claim) => (JsonObject)JsonNode.Parse("""{"metadata":{"name":"NAME"},"spec":{"claimRef":{"namespace":"default","name":"CLAIM"},"local":{"path":"/data"}}}""".Replace("NAME", name, StringComparison.Ordinal).Replace("CLAIM", claim, StringComparison.Ordinal))!;
        await _cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("web", "edge-1", Claiming("mine")));
        await _cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("waits", "edge-1", Claiming("absent")));
        await _cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("far", "edge-2", Claiming("theirs")));
        await _cloud.CreateAsync(ResourceKind.PersistentVolumeClaim, Claim("mine", "pv-mine"));
        await _cloud.CreateAsync(ResourceKind.PersistentVolumeClaim, Claim("theirs", "pv-theirs"));
        await _cloud.CreateAsync(ResourceKind.PersistentVolume, Volume("pv-mine", "mine"));
        await _cloud.CreateAsync(ResourceKind.PersistentVolume, Volume("pv-theirs", "theirs"));

        // It names a claim of this node's pod, which is bound elsewhere.
        await _cloud.CreateAsync(ResourceKind.PersistentVolume, Volume("pv-bait", "mine"));
        Assert.Equal("pv-mine", (await _edge.AskAsync("query", "default/persistentvolumeclaim/mine")).Text("spec", "volumeName"));
        Assert.Equal("/data", (await _edge.AskAsync("query", "null/persistentvolume/pv-mine")).Text("spec", "local", "path"));
        Assert.Equal("NotFound", (await _edge.AskAsync("query", "default/persistentvolumeclaim/absent")).Text("ErrStatus", "reason"));
        foreach (var resource in (string[])["default/persistentvolumeclaim/theirs", "default/persistentvolumeclaim/nobodys", "null/persistentvolume/pv-theirs", "null/persistentvolume/pv-bait"])
            Assert.Equal("Forbidden", (await _edge.AskAsync("query", resource)).Text("ErrStatus", "reason"));
    }

    [Fact]
    public async Task What_is_not_served_gets_a_clear_answer()
    {
        var answer = await _edge.AskAsync("query", "default/volumeattachment/data");
        Assert.Contains("volumeattachment", answer.Text("ErrStatus", "message"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Event_about_an_own_pod_is_written_and_about_others_not()
    {
        await _cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("web", "edge-1"));
        await _cloud.CreateAsync(ResourceKind.Pod, Support.Cloud.PodOf("far", "edge-2"));
        JsonNode Event(string pod) => JsonNode.Parse("""{"metadata":{"name":"POD.1","namespace":"default"},"involvedObject":{"kind":"Pod","namespace":"default","name":"POD"},"reason":"Pulled"}""".Replace("POD", pod, StringComparison.Ordinal))!;
        await _edge.SendAsync("edged", "meta", "insert", "default/event/far.1", Event("far"));
        await _edge.SendAsync("edged", "meta", "insert", "default/event/web.1", Event("web"));
        // Same lane, so the answer comes after the events were dealt with.
        await _edge.AskAsync("query", "default/configmap/far.1");
        await _edge.AskAsync("query", "default/configmap/web.1");
        Assert.Equal("web.1", (await _cloud.Kube.ListAsync(ResourceKind.Event, null, new ListOptions(), CancellationToken.None)).Items.Single().Name());
    }

    [Fact]
    public async Task Malformed_content_is_answered_and_the_session_goes_on()
    {
        var answer = await _edge.AskAsync("patch", "null/nodepatch/edge-1", JsonValue.Create("{nonsense"));
        Assert.Equal("BadRequest", answer.Text("Err", "ErrStatus", "reason"));
        await _edge.FlushAsync();
    }
}

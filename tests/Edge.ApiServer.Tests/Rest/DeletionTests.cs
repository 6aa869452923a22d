using System.Net;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Rest;

[Trait("Category", "Kubernetes")]
public sealed class DeletionTests(ApiFixture api) : IClassFixture<ApiFixture>
{
    private const string Pods = "/api/v1/namespaces/default/pods";
    private const string Maps = "/api/v1/namespaces/default/configmaps";

    [Fact]
    public async Task A_pod_without_a_node_goes_at_once()
    {
        await PodAsync("free", null);
        await api.DeleteAsync(Pods + "/free");
        await api.GetAsync(Pods + "/free", HttpStatusCode.NotFound);
    }

    [Fact]
    public async Task A_pod_on_a_node_keeps_its_grace_and_goes_with_grace_zero()
    {
        await PodAsync("bound", "n1");
        var deleting = await api.DeleteAsync(Pods + "/bound");
        Assert.True(deleting.IsDeleting());
        Assert.Equal(30, deleting.Number(-1, "metadata", "deletionGracePeriodSeconds"));
        var shorter = await api.DeleteAsync(Pods + "/bound", """{"gracePeriodSeconds":5}""");
        Assert.Equal(5, shorter.Number(-1, "metadata", "deletionGracePeriodSeconds"));
        var longer = await api.DeleteAsync(Pods + "/bound", """{"gracePeriodSeconds":60}""");
        Assert.Equal(5, longer.Number(-1, "metadata", "deletionGracePeriodSeconds"));
        Assert.Equal(shorter.ResourceVersion(), longer.ResourceVersion());
        await api.DeleteAsync(Pods + "/bound?gracePeriodSeconds=0");
        await api.GetAsync(Pods + "/bound", HttpStatusCode.NotFound);
    }

    [Fact]
    public async Task Finalizers_hold_the_object_until_the_last_is_removed()
    {
        await api.PostAsync(Maps, """{"metadata":{"name":"held","finalizers":["example.com/a"]}}""");
        Assert.True((await api.DeleteAsync(Maps + "/held")).IsDeleting());
        await api.GetAsync(Maps + "/held");
        await api.PatchAsync(Maps + "/held", "merge", """{"metadata":{"finalizers":null}}""");
        await api.GetAsync(Maps + "/held", HttpStatusCode.NotFound);
    }

    [Theory]
    [InlineData("Foreground", "foregroundDeletion")]
    [InlineData("Orphan", "orphan")]
    public async Task The_propagation_policy_becomes_the_finalizer_that_the_collector_serves(string policy, string finalizer)
    {
        var name = $"p-{policy.ToLowerInvariant()}";
        await api.PostAsync(Maps, $$$"""{"metadata":{"name":"{{{name}}}"}}""");
        var deleting = await api.DeleteAsync($"{Maps}/{name}", $$"""{"propagationPolicy":"{{policy}}"}""");
        Assert.Equal([finalizer], deleting.Texts("metadata", "finalizers"));
    }

    [Fact]
    public async Task Preconditions_that_do_not_hold_are_a_conflict()
    {
        var made = await api.PostAsync(Maps, """{"metadata":{"name":"pre"}}""");
        await api.DeleteAsync(Maps + "/pre", """{"preconditions":{"uid":"other"}}""", HttpStatusCode.Conflict);
        await api.DeleteAsync(Maps + "/pre", """{"preconditions":{"resourceVersion":"1"}}""", HttpStatusCode.Conflict);
        var status = await api.DeleteAsync(Maps + "/pre", $$$"""{"preconditions":{"uid":"{{{made.Uid()}}}","resourceVersion":"{{{made.ResourceVersion()}}}"}}""");
        Assert.Equal(("Success", made.Uid()), (status.Text("status"), status.Text("details", "uid")));
    }

    [Fact]
    public async Task A_namespace_terminates_takes_nothing_new_and_goes_when_finalized()
    {
        var ns = await api.NamespaceAsync();
        Assert.Equal("Terminating", (await api.DeleteAsync($"/api/v1/namespaces/{ns}")).Text("status", "phase"));
        var refused = await api.PostAsync($"/api/v1/namespaces/{ns}/configmaps", """{"metadata":{"name":"x"}}""", HttpStatusCode.Forbidden);
        Assert.Equal($"configmaps \"x\" is forbidden: unable to create new content in namespace {ns} because it is being terminated", refused.Text("message"));
        var obj = await api.GetAsync($"/api/v1/namespaces/{ns}");
        obj["spec"] = new JsonObject { ["finalizers"] = new JsonArray() };
        await api.PutAsync($"/api/v1/namespaces/{ns}/finalize", obj);
        await api.GetAsync($"/api/v1/namespaces/{ns}", HttpStatusCode.NotFound);
    }

    [Fact]
    public async Task DeleteCollection_takes_what_the_selector_names()
    {
        var ns = await api.NamespaceAsync();
        foreach (var (name, color) in ((string, string)[])[("a", "red"), ("b", "red"), ("c", "blue")])
            await api.PostAsync($"/api/v1/namespaces/{ns}/configmaps", $$$"""{"metadata":{"name":"{{{name}}}","labels":{"color":"{{{color}}}" } } }""");
        await api.DeleteAsync($"/api/v1/namespaces/{ns}/configmaps?labelSelector=color%3Dred");
        Assert.Equal(["c"], (await api.GetAsync($"/api/v1/namespaces/{ns}/configmaps")).Items("items").Select(o => o.Name()));
    }

    [Fact]
    public async Task A_binding_assigns_a_pod_once()
    {
        await PodAsync("tobind", null);
        await api.PostAsync(Pods + "/tobind/binding", """{"apiVersion":"v1","kind":"Binding","metadata":{"name":"tobind"},"target":{"kind":"Node","name":"n1"}}""");
        var pod = await api.GetAsync(Pods + "/tobind");
        Assert.Equal("n1", pod.Text("spec", "nodeName"));
        Assert.Contains(pod.Items("status", "conditions"), c => c.Text("type") == "PodScheduled" && c.Text("status") == "True");
        var status = await api.PostAsync(Pods + "/tobind/binding", """{"target":{"name":"n2"}}""", HttpStatusCode.Conflict);
        Assert.Contains("pod tobind is already assigned to node \"n1\"", status.Text("message"));
        await api.PostAsync(Pods + "/tobind/eviction", """{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"tobind"}}""");
        Assert.True((await api.GetAsync(Pods + "/tobind")).IsDeleting());
    }

    private Task<JsonObject> PodAsync(string name, string? node)
        => api.PostAsync(Pods, $$"""{"metadata":{"name":"{{name}}"},"spec":{ {{(node is null ? "" : $"\"nodeName\":\"{node}\",")}} "containers":[{"name":"c","image":"i"}] } }""");
}

using System.Net;
using Edge.ApiServer.Controllers;
using Edge.ApiServer.Controllers.GarbageCollection;
using Edge.ApiServer.Tests.Rest;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.ApiServer.Tests.Controllers;

[Trait("Category", "Kubernetes")]
public sealed class GarbageCollectorTests(ApiFixture api) : IClassFixture<ApiFixture>
{
    private const string Maps = "/api/v1/namespaces/default/configmaps";
    private static readonly TimeSpan s_net = TimeSpan.FromSeconds(30);

    [Fact]
    public async Task A_kind_that_goes_before_its_first_list_holds_up_nothing()
    {
        using var client = new KubeClient(api.Server.Inside, TimeProvider.System);
        var asked = new TaskCompletionSource();
        SharedInformer Informer(ResourceKind kind) => new(new Informer(client, kind, null, new ListOptions(), TimeProvider.System, new Random(1), NullLogger.Instance));
        SharedInformer[] builtIn = [Informer(ResourceKind.CustomResourceDefinition), Informer(ResourceKind.ConfigMap)];
        var collector = new GarbageCollector(
            client, builtIn, builtIn[0],
            kind =>
            {
                asked.TrySetResult();
                return Informer(kind with { Plural = "gone" }); // as one that is not served any longer when it is listed
            },
            TimeProvider.System, new Random(1), NullLogger.Instance);
        await api.PostAsync("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", """
            {"metadata":{"name":"brief.gc.example.com"},"spec":{"group":"gc.example.com","scope":"Namespaced","names":{"plural":"brief","kind":"Brief"},
             "versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object"}}}]}}
            """);
        var owner = await api.PostAsync(Maps, """{"metadata":{"name":"owner"}}""");
        await api.PostAsync(Maps, $$$"""{"metadata":{"name":"owned","ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"owner","uid":"{{{owner.Uid()}}}"}]}}""");
        using var watch = await api.WatchAsync(Maps + "?watch=true&fieldSelector=metadata.name%3Downed&resourceVersion=" + owner.ResourceVersion());
        await watch.ExpectAsync("ADDED", "owned");
        foreach (var informer in builtIn)
            informer.Start();
        collector.Start();
        await asked.Task.WaitAsync(s_net);
        await api.DeleteAsync("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/brief.gc.example.com");
        await api.DeleteAsync(Maps + "/owner");
        await watch.ExpectAsync("DELETED", "owned");
        Assert.Equal("NotFound", (await api.GetAsync(Maps + "/owned", HttpStatusCode.NotFound)).Text("reason"));
        await collector.DisposeAsync();
        foreach (var informer in builtIn)
            await informer.DisposeAsync();
    }
}

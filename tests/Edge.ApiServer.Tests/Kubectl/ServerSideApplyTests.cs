using System.Net;
using Edge.ApiServer.Tests.Rest;
using Edge.Kubernetes;
using Edge.Testing;

namespace Edge.ApiServer.Tests.Kubectl;

/// <summary>Server-side apply, by kubectl and by hand.</summary>
[Trait("Category", "Kubernetes")]
public sealed class ServerSideApplyTests(ApiFixture api) : IClassFixture<ApiFixture>, IAsyncLifetime
{
    private const string Web = """
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: web, labels: {tier: front, owner: me}}
        spec:
          replicas: 2
          selector: {matchLabels: {app: web}}
          template:
            metadata: {labels: {app: web}}
            spec:
              containers:
              - {name: c, image: "i:1", ports: [{containerPort: 80}], env: [{name: A, value: a}, {name: B, value: b}]}
        """;

    private KubectlRunner _run = null!;

    public async Task InitializeAsync()
        => _run = new KubectlRunner("kubectl", api.Server.KubeconfigPath, await api.NamespaceAsync(), Directory.CreateDirectory(Path.Combine(api.Directory, Guid.NewGuid().ToString("N"))).FullName);

    public Task DisposeAsync() => Task.CompletedTask;

    [SkippableFact]
    [KubectlVerb("apply", "--server-side, conflicts, --force-conflicts, --field-manager")]
    [KubectlVerb("set", "image")]
    public async Task Kubectl_applies_on_the_server_and_conflicts_are_told_and_forced()
    {
        Requires.Kubectl();
        var file = _run.File("web.yaml", Web);
        Assert.Contains("deployment.apps/web serverside-applied", await _run.OkAsync($"apply --server-side -f {file}"), StringComparison.Ordinal);
        var version = await _run.OkAsync("get deploy web -o jsonpath={.metadata.resourceVersion}");
        await _run.OkAsync($"apply --server-side -f {file}");
        Assert.Equal(version, await _run.OkAsync("get deploy web -o jsonpath={.metadata.resourceVersion}"));
        Assert.Contains("f:replicas", await _run.OkAsync("get deploy web --show-managed-fields -o yaml"), StringComparison.Ordinal);

        await _run.OkAsync("set image deployment/web c=i:2");
        var conflict = await _run.FailAsync($"apply --server-side -f {file}");
        Assert.Contains("Apply failed with 1 conflict: conflict with \"kubectl-set\" using apps/v1: .spec.template.spec.containers[name=\"c\"].image", conflict, StringComparison.Ordinal);
        Assert.Equal("i:2", await _run.OkAsync("get deploy web -o jsonpath={.spec.template.spec.containers[0].image}"));
        await _run.OkAsync($"apply --server-side --force-conflicts -f {file}");
        Assert.Equal("i:1", await _run.OkAsync("get deploy web -o jsonpath={.spec.template.spec.containers[0].image}"));

        // What is no longer applied goes; what another manager applied stays.
        await _run.OkAsync($"apply --server-side --field-manager=other -f {_run.File("other.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, labels: {team: x}}\nspec: {template: {spec: {containers: [{name: c, env: [{name: C, value: c}]}]}}}\n")}");
        _run.File("web.yaml", Web.Replace(", owner: me", "", StringComparison.Ordinal).Replace("{name: A, value: a}, ", "", StringComparison.Ordinal));
        await _run.OkAsync($"apply --server-side -f {file}");
        Assert.Equal("{\"team\":\"x\",\"tier\":\"front\"}", await _run.OkAsync("get deploy web -o jsonpath={.metadata.labels}"));
        Assert.Equal("B C", await _run.OkAsync("get deploy web -o jsonpath={.spec.template.spec.containers[0].env[*].name}"));
    }

    [SkippableFact]
    [KubectlVerb("diff", "--server-side")]
    [KubectlVerb("apply", "--dry-run=server")]
    [KubectlVerb("scale", "--dry-run=server")]
    [KubectlVerb("delete", "--dry-run=server")]
    public async Task Dry_run_and_diff_change_nothing()
    {
        Requires.Kubectl();
        var file = _run.File("web.yaml", Web);
        await _run.OkAsync($"apply --server-side --dry-run=server -f {file}");
        Assert.Contains("not found", await _run.FailAsync("get deploy web"), StringComparison.Ordinal);
        await _run.OkAsync($"apply --server-side -f {file}");
        _run.File("web.yaml", Web.Replace("replicas: 2", "replicas: 5", StringComparison.Ordinal));
        using var diff = _run.Start($"diff --server-side -f {file}");
        var text = await diff.StandardOutput.ReadToEndAsync();
        await diff.WaitForExitAsync();
        Assert.Equal(1, diff.ExitCode); // there are differences
        Assert.Contains("+  replicas: 5", text, StringComparison.Ordinal);
        Assert.Equal("2", await _run.OkAsync("get deploy web -o jsonpath={.spec.replicas}"));
        await _run.OkAsync("scale deployment web --replicas=4 --dry-run=server");
        await _run.OkAsync("delete deployment web --dry-run=server");
        Assert.Equal("2", await _run.OkAsync("get deploy web -o jsonpath={.spec.replicas}"));
    }

    [SkippableFact]
    [KubectlVerb("apply", "--server-side after apply without it")]
    public async Task What_kubectl_applied_on_its_side_it_may_change_and_remove_on_the_server()
    {
        Requires.Kubectl();
        var file = _run.File("web.yaml", Web);
        await _run.OkAsync($"apply -f {file}");
        _run.File("web.yaml", Web.Replace("replicas: 2", "replicas: 5", StringComparison.Ordinal).Replace(", owner: me", "", StringComparison.Ordinal).Replace("i:1", "i:2", StringComparison.Ordinal));
        var told = await _run.OkAsync($"apply --server-side -f {file}", withErrors: true);
        Assert.Contains("deployment.apps/web serverside-applied", told, StringComparison.Ordinal);
        Assert.DoesNotContain("failed to migrate", told, StringComparison.Ordinal);
        Assert.Equal("5/i:2/{\"tier\":\"front\"}", await _run.OkAsync("get deploy web -o jsonpath={.spec.replicas}/{.spec.template.spec.containers[0].image}/{.metadata.labels}"));
        Assert.DoesNotContain("kubectl-client-side-apply", await _run.OkAsync("get deploy web --show-managed-fields -o yaml"), StringComparison.Ordinal);
        var version = await _run.OkAsync("get deploy web -o jsonpath={.metadata.resourceVersion}");
        await _run.OkAsync($"apply --server-side -f {file}");
        Assert.Equal(version, await _run.OkAsync("get deploy web -o jsonpath={.metadata.resourceVersion}"));

        // What another has changed since is a conflict as ever.
        await _run.OkAsync("scale deployment web --replicas=7");
        Assert.Contains(".spec.replicas", await _run.FailAsync($"apply --server-side -f {file}"), StringComparison.Ordinal);

        // And back: the annotation was kept.
        _run.File("web.yaml", Web.Replace("replicas: 2", "replicas: 7", StringComparison.Ordinal).Replace("tier: front, ", "", StringComparison.Ordinal));
        await _run.OkAsync($"apply -f {file}");
        Assert.Equal("{\"owner\":\"me\"}", await _run.OkAsync("get deploy web -o jsonpath={.metadata.labels}"));
    }

    [Fact]
    public async Task A_write_may_hand_fields_to_another_manager_or_take_the_managers_off()
    {
        var path = $"/api/v1/namespaces/{_run.Namespace}/configmaps/handed";
        await api.SendAsync(HttpMethod.Patch, path + "?fieldManager=x", HttpStatusCode.Created, "{apiVersion: v1, kind: ConfigMap, metadata: {name: handed}, data: {a: '1'}}", "application/apply-patch+yaml");
        await api.PatchAsync(path, "json", """[{"op":"replace","path":"/metadata/managedFields/0/manager","value":"y"}]""");
        Assert.Equal("y", (await api.GetAsync(path)).Items("metadata", "managedFields").Single().Text("manager"));
        await api.PatchAsync(path, "json", """[{"op":"replace","path":"/metadata/managedFields","value":[{"manager":"z"}]}]"""); // no entry: what is known stays
        Assert.Equal("y", (await api.GetAsync(path)).Items("metadata", "managedFields").Single().Text("manager"));
        await api.PatchAsync(path, "merge", """{"metadata":{"managedFields":[{}]}}""");
        Assert.Null((await api.GetAsync(path)).At("metadata", "managedFields"));
    }

    [Fact]
    public async Task A_custom_resource_merges_lists_as_its_schema_says()
    {
        await api.PostAsync("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", """
            {"metadata":{"name":"racks.test.example"},"spec":{"group":"test.example","scope":"Namespaced","names":{"plural":"racks","kind":"Rack"},
             "versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{
               "slots":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["name"],"items":{"type":"object","required":["name"],"properties":{"name":{"type":"string"},"size":{"type":"integer"}}}},
               "tags":{"type":"array","x-kubernetes-list-type":"set","items":{"type":"string"}},
               "steps":{"type":"array","items":{"type":"string"}}}}}}}}]}}
            """);
        var path = $"/apis/test.example/v1/namespaces/{_run.Namespace}/racks/r";
        await ApplyAsync(path, "a", """{"slots":[{"name":"x","size":1},{"name":"y","size":2}],"tags":["t"],"steps":["1"]}""", HttpStatusCode.Created);
        await ApplyAsync(path, "b", """{"slots":[{"name":"z","size":3}],"tags":["u","t"]}""");
        var both = await api.GetAsync(path);
        Assert.Equal(["x", "y", "z"], both.Items("spec", "slots").Select(slot => slot.Text("name")));
        Assert.Equal(["t", "u"], both.Texts("spec", "tags"));

        var conflict = await ApplyAsync(path, "b", """{"slots":[{"name":"x","size":9}],"steps":["2"]}""", HttpStatusCode.Conflict);
        Assert.Equal("Apply failed with 2 conflicts: conflicts with \"a\":\n- .spec.slots[name=\"x\"].size\n- .spec.steps", conflict.Text("message"));
        Assert.Equal(["FieldManagerConflict", "FieldManagerConflict"], conflict.Items("details", "causes").Select(cause => cause.Text("reason")));

        // y and t were a's; t is b's, too.
        await ApplyAsync(path, "a", """{"slots":[{"name":"x","size":1}],"steps":["1"]}""");
        var left = await api.GetAsync(path);
        Assert.Equal(["x", "z"], left.Items("spec", "slots").Select(slot => slot.Text("name")));
        Assert.Equal(["t", "u"], left.Texts("spec", "tags"));
    }

    [Fact]
    public async Task What_was_there_before_the_first_apply_is_nobodys_to_overwrite()
    {
        var path = $"/api/v1/namespaces/{_run.Namespace}/configmaps";
        await api.PostAsync(path, """{"metadata":{"name":"m"},"data":{"a":"1","b":"2"}}""");
        Assert.Null((await api.GetAsync($"{path}/m")).At("metadata", "managedFields"));
        const string config = """{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"},"data":{"a":"9","c":"3"}}""";
        var conflict = await api.SendAsync(HttpMethod.Patch, $"{path}/m?fieldManager=x", HttpStatusCode.Conflict, config, "application/apply-patch+yaml");
        Assert.Equal("Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.a", conflict.Text("message"));
        var forced = await api.SendAsync(HttpMethod.Patch, $"{path}/m?fieldManager=x&force=true", HttpStatusCode.OK, config, "application/apply-patch+yaml");
        Assert.Equal(("9", "2", "3"), (forced.Text("data", "a"), forced.Text("data", "b"), forced.Text("data", "c")));
        // A plain update takes its field away from the one who applied it.
        await api.SendAsync(HttpMethod.Patch, $"{path}/m?fieldManager=y", HttpStatusCode.OK, """{"data":{"c":"4"}}""", "application/merge-patch+json");
        var second = await api.SendAsync(HttpMethod.Patch, $"{path}/m?fieldManager=x", HttpStatusCode.Conflict, config, "application/apply-patch+yaml");
        Assert.Equal("Apply failed with 1 conflict: conflict with \"y\" using v1: .data.c", second.Text("message"));
        await api.SendAsync(HttpMethod.Patch, $"{path}/m", HttpStatusCode.UnprocessableEntity, config, "application/apply-patch+yaml");
        await api.SendAsync(HttpMethod.Patch, $"{path}/m?fieldManager=x", HttpStatusCode.BadRequest, config.Replace("\"m\"", "\"n\"", StringComparison.Ordinal), "application/apply-patch+yaml");
    }

    private Task<System.Text.Json.Nodes.JsonObject> ApplyAsync(string path, string manager, string spec, HttpStatusCode code = HttpStatusCode.OK)
        => api.SendAsync(HttpMethod.Patch, $"{path}?fieldManager={manager}", code, $$$$"""{"apiVersion":"test.example/v1","kind":"Rack","metadata":{"name":"r"},"spec":{{{{spec}}}}}""", "application/apply-patch+yaml");
}

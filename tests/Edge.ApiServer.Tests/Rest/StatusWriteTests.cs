using System.Net;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Rest;

[Trait("Category", "Kubernetes")]
public sealed class StatusWriteTests(ApiFixture api) : IClassFixture<ApiFixture>
{
    [Fact]
    public async Task A_status_patch_changes_the_status_and_nothing_else()
    {
        var (group, path) = await DefineAsync("3");
        await api.PostAsync(path, $$$"""{"apiVersion":"{{{group}}}/v1","kind":"Thing","metadata":{"name":"a","labels":{"x":"1"}},"spec":{"n":2}}""");
        for (var i = 1; i <= 3; i++)
        {
            var patched = await api.PatchAsync(
                $"{path}/a/status", "merge", $$$"""{"metadata":{"labels":{"x":"2"},"annotations":{"a":"b"}},"spec":{"n":9},"status":{"count":{{{i}}},"unknown":1,"gone":{{{(i == 3 ? "null" : "\"g\"")}}}}}""");
            Assert.Equal(i, patched.Number(0, "status", "count"));
            Assert.Equal(i == 3 ? "" : "g", patched.Text("status", "gone"));
            Assert.Null(patched.At("status", "unknown"));
            Assert.Equal("new", patched.Text("status", "phase"));
            Assert.Equal((2, "1", 1), (patched.Number(0, "spec", "n"), patched.Label("x"), patched.Number(0, "metadata", "generation")));
            Assert.Null(patched.At("metadata", "annotations"));
            Assert.True(JsonNode.DeepEquals(patched, await api.GetAsync($"{path}/a")));
        }

        var stale = await api.PatchAsync($"{path}/a/status", "merge", """{"metadata":{"resourceVersion":"1"},"status":{"count":7}}""", HttpStatusCode.Conflict);
        Assert.Equal("Conflict", stale.Text("reason"));
        var wrong = await api.PatchAsync($"{path}/a/status", "merge", """{"status":{"count":"many"}}""", HttpStatusCode.UnprocessableEntity);
        Assert.Contains("status.count", wrong.Text("message"), StringComparison.Ordinal);
        var before = await api.GetAsync($"{path}/a");
        var same = await api.PatchAsync($"{path}/a/status", "merge", """{"status":{"count":3}}""");
        Assert.Equal(before.ResourceVersion(), same.ResourceVersion());
        var put = (JsonObject)before.DeepClone();
        put["status"] = new JsonObject { ["count"] = 8 };
        put["spec"] = new JsonObject { ["n"] = 1 };
        var replaced = await api.PutAsync($"{path}/a/status", put);
        Assert.Equal((8, 2), (replaced.Number(0, "status", "count"), replaced.Number(0, "spec", "n")));
    }

    // As with kube-apiserver; what a built-in object leaves out follows from the URL.
    [Fact]
    public async Task A_custom_object_says_what_it_is()
    {
        var (group, path) = await DefineAsync("3");
        foreach (var (head, missing) in ((string, string)[])[("", "Kind"), ($"\"apiVersion\":\"{group}/v1\",", "Kind"), ("\"kind\":\"Thing\",", "apiVersion")])
        {
            var body = $$$"""{{{{head}}}"metadata":{"name":"bare"},"spec":{"n":2}}""";
            foreach (var (method, at) in ((HttpMethod, string)[])[(HttpMethod.Post, path), (HttpMethod.Put, $"{path}/bare"), (HttpMethod.Put, $"{path}/bare/status")])
                Assert.Contains($"cannot be handled as a Thing: Object '{missing}' is missing", (await api.SendAsync(method, at, HttpStatusCode.BadRequest, body)).Text("message"), StringComparison.Ordinal);
        }

        await api.PostAsync("/api/v1/namespaces/default/configmaps", """{"metadata":{"name":"bare"}}""");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_status_patched_alone_becomes_what_it_becomes_with_the_whole(bool hasDefault)
    {
        var (group, path) = await DefineAsync("3", hasDefault);
        foreach (var name in (string[])["alone", "whole"])
            await api.PostAsync(path, $$$"""{"apiVersion":"{{{group}}}/v1","kind":"Thing","metadata":{"name":"{{{name}}}"},"spec":{"n":2}}""");
        foreach (var (status, code) in ((string, HttpStatusCode)[])
            [
                ("""{"count":1,"gone":"a"}""", HttpStatusCode.OK),
                ("""{"gone":null,"unknown":{"x":[1]}}""", HttpStatusCode.OK),
                ("""{"phase":null}""", HttpStatusCode.OK),
                ("""{"list":[{"a":"1","b":{}},{}],"count":7}""", HttpStatusCode.OK),
                ("""{"list":[{"a":1}]}""", HttpStatusCode.UnprocessableEntity),
                ("""{"list":null}""", HttpStatusCode.OK),
                ("\"text\"", HttpStatusCode.UnprocessableEntity),
                ("[]", HttpStatusCode.UnprocessableEntity),
                ("null", HttpStatusCode.OK),
                ("{}", HttpStatusCode.OK),
                ("{  \"gone\" : \"a\\u0062\\/\\n ü\" ,\n \"li\\u0073t\":[ {\"a\" : \"1\", \"b\":{\"c\" : [null, 1.50, true]} } ] }", HttpStatusCode.OK),
                ("""{"list":[],"count":9223372036854775807}""", HttpStatusCode.OK),
                ("""{"count":1.5}""", HttpStatusCode.UnprocessableEntity),
                ("""{"free":{"a":{"b":1,"c":2},"d":null}}""", HttpStatusCode.OK),
                ("""{"free":{"a":{"b":null,"e":{"f":null}}}}""", HttpStatusCode.OK),
            ])
        {
            // A patch that names metadata other than the version takes the general way.
            var alone = await api.PatchAsync($"{path}/alone/status", "merge", $$"""{"status":{{status}}}""", code);
            var whole = await api.PatchAsync($"{path}/whole/status", "merge", $$$"""{"metadata":{"labels":{"x":"1"}},"status":{{{status}}}}""", code);
            Assert.Equal(whole.Text("reason"), alone.Text("reason"));
            Assert.Equal(whole.Text("message").Replace("whole", "alone", StringComparison.Ordinal), alone.Text("message"));
            Assert.Equal(whole["spec"]?.ToJsonString(), alone["spec"]?.ToJsonString());
            Assert.Equal(whole.At("status")?.ToJsonString(), alone.At("status")?.ToJsonString());
            if (code == HttpStatusCode.OK)
                Assert.Equal(alone.ToJsonString(), (await api.GetAsync($"{path}/alone")).ToJsonString());
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_status_patch_names_the_state_that_it_means_and_makes_no_event_when_nothing_changes(bool hasDefault)
    {
        var (group, path) = await DefineAsync("3", hasDefault);
        await api.PostAsync(path, $$$"""{"apiVersion":"{{{group}}}/v1","kind":"Thing","metadata":{"name":"a"},"spec":{"n":2}}""");
        var first = await api.PatchAsync($"{path}/a/status", "merge", """{"status":{"count":12,"list":[{"a":"1","b":{"x":1}}]}}""");

        // The same in another order, which is as long and has the same bytes; then as many bytes that are not the same.
        var same = await api.PatchAsync($"{path}/a/status", "merge", """{"status":{"list":[{"b":{"x":1},"a":"1"}],"count":12}}""");
        Assert.Equal(first.ResourceVersion(), same.ResourceVersion());
        var swapped = await api.PatchAsync($"{path}/a/status", "merge", """{"status":{"count":21}}""");
        Assert.NotEqual(first.ResourceVersion(), swapped.ResourceVersion());
        Assert.Equal(21, swapped.Number(0, "status", "count"));

        var good = await api.PatchAsync($"{path}/a/status", "merge", $$$"""{"metadata":{"name":"a","uid":"{{{first.Uid()}}}","resourceVersion":"{{{swapped.ResourceVersion()}}}"},"status":{"count":1}}""");
        Assert.Equal(1, good.Number(0, "status", "count"));
        await api.PatchAsync($"{path}/a/status", "merge", $$$"""{"metadata":{"resourceVersion":"{{{swapped.ResourceVersion()}}}"},"status":{"count":"stale before wrong"}}""", HttpStatusCode.Conflict);
        await api.PatchAsync($"{path}/a/status", "merge", """{"metadata":{"uid":"other"},"status":{"count":2}}""", HttpStatusCode.Conflict);
        await api.PatchAsync($"{path}/a/status", "merge", """{"metadata":{"name":"b"},"status":{"count":2}}""", HttpStatusCode.BadRequest);
        await api.PatchAsync($"{path}/a/status", "merge", """{"kind":"Other","status":{"count":2}}""", HttpStatusCode.BadRequest);
        await api.PatchAsync($"{path}/gone/status", "merge", """{"status":{"count":2}}""", HttpStatusCode.NotFound);
        Assert.Equal(1, (await api.GetAsync($"{path}/a")).Number(0, "status", "count"));
    }

    [Fact]
    public async Task Text_that_is_no_Unicode_is_repaired_as_Kubernetes_does_it_and_can_be_read_and_patched_on()
    {
        var (group, path) = await DefineAsync("3");
        var made = await api.PostAsync(path, $$$"""{"apiVersion":"{{{group}}}/v1","kind":"Thing","metadata":{"name":"a","annotations":{"half":"x\ud800y","pair":"\uD83D\ude00","not":"\\ud800"}},"spec":{"n":2}}""");
        var annotations = made.At("metadata", "annotations")!;
        Assert.Equal(("x\ufffdy", "\ud83d\ude00", @"\ud800"), (annotations.Text("half"), annotations.Text("pair"), annotations.Text("not")));

        var patched = await api.PatchAsync($"{path}/a/status", "merge", """{"status":{"gone":"\udc00\ud800","free":{"\ud900":1}}}""");
        Assert.Equal("\ufffd\ufffd", patched.Text("status", "gone"));
        Assert.Equal(1, patched.Number(0, "status", "free", "\ufffd"));
        patched = await api.PatchAsync($"{path}/a", "json", """[{"op":"add","path":"/metadata/labels","value":{"l":"b"}},{"op":"add","path":"/metadata/annotations/more","value":"\ud800"}]""");
        Assert.Equal("\ufffd", patched.Text("metadata", "annotations", "more"));

        using var request = new HttpRequestMessage(HttpMethod.Patch, $"{path}/a/status")
        {
            Content = new ByteArrayContent([.. """{"status":{"gone":"é"""u8, 0xff, .. "\"}}"u8]),
        };
        request.Content.Headers.ContentType = new("application/merge-patch+json");
        using var response = await api.Client.SendAsync(request);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal("é\ufffd", (await api.GetAsync($"{path}/a")).Text("status", "gone"));
    }

    [Fact]
    public async Task After_a_change_of_the_schema_a_status_patch_is_judged_with_the_whole_object()
    {
        var (group, path) = await DefineAsync("3");
        await api.PostAsync(path, $$$"""{"apiVersion":"{{{group}}}/v1","kind":"Thing","metadata":{"name":"a"},"spec":{"n":2}}""");
        await api.PatchAsync($"{path}/a/status", "merge", """{"status":{"count":1}}""");
        var crd = await api.GetAsync($"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.{group}");
        crd["spec"]!["versions"]![0]!["schema"]!["openAPIV3Schema"]!["properties"]!["spec"]!["properties"]!["n"]!["maximum"] = 1;
        await api.PutAsync($"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.{group}", crd);
        var refused = await api.PatchAsync($"{path}/a/status", "merge", """{"status":{"count":2}}""", HttpStatusCode.UnprocessableEntity);
        Assert.Contains("spec.n", refused.Text("message"), StringComparison.Ordinal);
    }

    private async Task<(string Group, string Path)> DefineAsync(string maximum, bool hasDefault = true)
    {
        var group = $"g{Guid.NewGuid():n}.example";
        await api.PostAsync("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", $$$"""
            {"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"things.{{{group}}}"},"spec":{"group":"{{{group}}}","scope":"Namespaced",
             "names":{"plural":"things","singular":"thing","kind":"Thing","listKind":"ThingList"},"versions":[{"name":"v1","served":true,"storage":true,"subresources":{"status":{} },
             "schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{"n":{"type":"integer","maximum":{{{maximum}}} } } },
             "status":{"type":"object","properties":{"count":{"type":"integer"},"gone":{"type":"string"},"free":{"type":"object","x-kubernetes-preserve-unknown-fields":true},
             "phase":{"type":"string"{{{(hasDefault ? ",\"default\":\"new\"" : "")}}} },
             "list":{"type":"array","items":{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"object","x-kubernetes-preserve-unknown-fields":true} } } } } } } } } }]}}
            """);
        return (group, $"/apis/{group}/v1/namespaces/{await api.NamespaceAsync()}/things");
    }
}

using System.Net;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Rest;

/// <summary>What is stored can be read again: no way in takes an object that is nested deeper than readers go.</summary>
[Trait("Category", "Kubernetes")]
public sealed class NestingTests(ApiFixture api) : IClassFixture<ApiFixture>, IAsyncLifetime
{
    private const string Frees = "/apis/nest.example.com/v1/namespaces/default/frees";

    public async Task InitializeAsync()
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions");
        request.Content = new StringContent("""
            {"metadata":{"name":"frees.nest.example.com"},"spec":{"group":"nest.example.com","scope":"Namespaced","names":{"plural":"frees","kind":"Free"},
             "versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}}
            """, System.Text.Encoding.UTF8, "application/json");
        using var response = await api.Client.SendAsync(request);
        Assert.True(response.StatusCode is HttpStatusCode.Created or HttpStatusCode.Conflict, $"{response.StatusCode}");
    }

    public Task DisposeAsync() => Task.CompletedTask;

    [Fact]
    public async Task A_JSON_patch_does_not_nest_an_object_deeper_than_it_can_be_read()
    {
        await api.PostAsync(Frees, """{"apiVersion":"nest.example.com/v1","kind":"Free","metadata":{"name":"add"},"a":{}}""");
        var operations = new JsonArray();
        for (var (i, path) = (0, "/a"); i < 6; i++, path += string.Concat(Enumerable.Repeat("/b", 100)))
            operations.Add(new JsonObject { ["op"] = "add", ["path"] = path, ["value"] = JsonNode.Parse(Nested("{\"b\":", "{}", "}", 100), documentOptions: new() { MaxDepth = 200 }) });
        var status = await api.PatchAsync(Frees + "/add", "json", operations.ToJsonString(new() { MaxDepth = 1000 }), HttpStatusCode.UnprocessableEntity);
        Assert.Contains("nested deeper than 128 levels", status.Text("message"));
        await StaysUsableAsync("add");
    }

    [Fact]
    public async Task Copies_into_itself_do_not_nest_an_object_without_end()
    {
        await api.PostAsync(Frees, """{"apiVersion":"nest.example.com/v1","kind":"Free","metadata":{"name":"copy"},"a":{}}""");
        var path = "/a";
        var operations = new JsonArray(new JsonObject { ["op"] = "add", ["path"] = "/a/x", ["value"] = new JsonObject() });
        for (var i = 0; i < 17; i++)
        {
            operations.Add(new JsonObject { ["op"] = "copy", ["from"] = "/a", ["path"] = path + string.Concat(Enumerable.Repeat("/x", 1 << i)) + "/x" });
        }

        var status = await api.PatchAsync(Frees + "/copy", "json", operations.ToJsonString(), HttpStatusCode.UnprocessableEntity);
        Assert.Contains("nested deeper than 128 levels", status.Text("message"));
        await StaysUsableAsync("copy");
    }

    [Theory]
    [InlineData("flow", "spec: ", "[", "]", 20_000)]
    [InlineData("json", "", "{\"a\":", "}", 20_000)]
    [InlineData("near", "spec: ", "[", "]", 150)]
    public async Task A_YAML_body_that_is_nested_too_deep_is_400(string name, string before, string open, string close, int levels)
    {
        var body = name == "json" ? Nested(open, "1", close, levels) : $"apiVersion: nest.example.com/v1\nkind: Free\nmetadata: {{name: {name}}}\n{before}{Nested(open, "1", close, levels)}\n";
        foreach (var (method, path, type) in new[] { (HttpMethod.Post, Frees, "application/yaml"), (HttpMethod.Patch, $"{Frees}/{name}?fieldManager=t", "application/apply-patch+yaml"), (HttpMethod.Post, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "application/yaml") })
        {
            var status = await api.SendAsync(method, path, HttpStatusCode.BadRequest, body, type);
            Assert.Contains("nested deeper than 128 levels", status.Text("message"));
        }
    }

    [Theory]
    [InlineData("&a [*a]", "anchor")]
    [InlineData("{metadata: &a {name: *a}}", "anchor")]
    [InlineData("{[1, 2]: 3}", "key must be text")]
    [InlineData("{{a: 1}: 3}", "key must be text")]
    [InlineData("? [a]\n: 1\n", "key must be text")]
    [InlineData("a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e]\n", "values")]
    public async Task YAML_that_has_no_JSON_is_400(string body, string reason)
        => Assert.Contains(reason, (await api.SendAsync(HttpMethod.Post, Frees, HttpStatusCode.BadRequest, body, "application/yaml")).Text("message"));

    [Fact]
    public async Task Aliases_do_not_nest_deeper_than_the_text_may()
    {
        var lines = Enumerable.Range(1, 200).Select(i => $"a{i}: &a{i} [*a{i - 1}]");
        var status = await api.SendAsync(HttpMethod.Post, Frees, HttpStatusCode.BadRequest, "metadata: {name: alias}\na0: &a0 [x]\n" + string.Join("\n", lines) + "\n", "application/yaml");
        Assert.Contains("nested deeper than 128 levels", status.Text("message"));
        var made = await api.SendAsync(HttpMethod.Post, Frees, HttpStatusCode.Created, "apiVersion: nest.example.com/v1\nkind: Free\nmetadata: {name: alias}\na: &a {b: 1}\nc: *a\n", "application/yaml");
        Assert.Equal(1, made.Number(0, "c", "b"));
    }

    [Fact]
    public async Task An_object_at_the_limit_is_stored_shown_and_dry_run()
    {
        var body = $$"""{"apiVersion":"nest.example.com/v1","kind":"Free","metadata":{"name":"deep"},"a":{{Nested("[", "1", "]", 100)}}}""";
        await api.SendAsync(HttpMethod.Post, Frees + "?dryRun=All", HttpStatusCode.Created, body);
        await api.PostAsync(Frees, body);
        await StaysUsableAsync("deep");
    }

    private static string Nested(string open, string inner, string close, int levels)
        => string.Concat(Enumerable.Repeat(open, levels)) + inner + string.Concat(Enumerable.Repeat(close, levels));

    private async Task StaysUsableAsync(string name)
    {
        var read = await api.GetAsync($"{Frees}/{name}");
        await api.GetAsync(Frees);
        await api.PutAsync($"{Frees}/{name}", read);
        await api.PatchAsync($"{Frees}/{name}", "merge", """{"metadata":{"labels":{"a":"b"}}}""");
        await api.DeleteAsync($"{Frees}/{name}");
    }
}

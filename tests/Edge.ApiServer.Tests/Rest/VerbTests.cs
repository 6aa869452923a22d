using System.Net;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Rest;

[Trait("Category", "Kubernetes")]
public sealed class VerbTests(ApiFixture api) : IClassFixture<ApiFixture>
{
    private const string Maps = "/api/v1/namespaces/default/configmaps";

    [Fact]
    public async Task Create_sets_uid_time_and_version_and_ignores_what_the_server_owns()
    {
        var ns = await api.NamespaceAsync();
        var made = await api.PostAsync($"/api/v1/namespaces/{ns}/configmaps", """{"metadata":{"name":"a","uid":"mine","deletionTimestamp":"2020-01-01T00:00:00Z","creationTimestamp":"2020-01-01T00:00:00Z"},"data":{"k":"v"}}""");
        Assert.True(Guid.TryParse(made.Uid(), out _));
        Assert.NotEqual("2020-01-01T00:00:00Z", made.Text("metadata", "creationTimestamp"));
        Assert.False(made.IsDeleting());
        Assert.True(made.Version() > 0);
        Assert.Equal(("ConfigMap", "v1", ns), (made.Kind(), made.ApiVersion(), made.Namespace()));
        var read = await api.GetAsync($"/api/v1/namespaces/{ns}/configmaps/a");
        Assert.True(JsonNode.DeepEquals(made, read));
    }

    [Fact]
    public async Task GenerateName_makes_a_different_name_each_time()
    {
        var first = await api.PostAsync(Maps, """{"metadata":{"generateName":"g-"}}""");
        var second = await api.PostAsync(Maps, """{"metadata":{"generateName":"g-"}}""");
        Assert.Matches("^g-[bcdfghjklmnpqrstvwxz2456789]{5}$", first.Name());
        Assert.NotEqual(first.Name(), second.Name());
    }

    [Fact]
    public async Task Failures_are_the_texts_that_kubectl_prints()
    {
        await api.PostAsync(Maps, """{"metadata":{"name":"taken"}}""");
        await FailsAsync(HttpMethod.Get, "/api/v1/namespaces/default/pods/x", 404, "NotFound", "pods \"x\" not found");
        await FailsAsync(HttpMethod.Post, Maps, 409, "AlreadyExists", "configmaps \"taken\" already exists", """{"metadata":{"name":"taken"}}""");
        await FailsAsync(HttpMethod.Post, "/api/v1/namespaces/nowhere/configmaps", 404, "NotFound", "namespaces \"nowhere\" not found", """{"metadata":{"name":"x"}}""");
        await FailsAsync(HttpMethod.Get, "/api/v1/namespaces/default/gadgets", 404, "NotFound", "the server could not find the requested resource");
        await FailsAsync(HttpMethod.Put, Maps, 405, "MethodNotAllowed", "the server does not allow this method on the requested resource", "{}");
        await FailsAsync(HttpMethod.Delete, "/api/v1/namespaces/kube-system", 403, "Forbidden", "namespaces \"kube-system\" is forbidden: this namespace may not be deleted");
        await FailsAsync(HttpMethod.Post, Maps, 400, "BadRequest", "the namespace of the provided object does not match the namespace sent on the request", """{"metadata":{"name":"x","namespace":"other"}}""");
        await FailsAsync(HttpMethod.Post, Maps, 400, "BadRequest", "the API version in the data (v2) does not match the expected API version (v1)", """{"apiVersion":"v2","kind":"ConfigMap","metadata":{"name":"x"}}""");
        await FailsAsync(HttpMethod.Get, "/api/v1/pods?fieldSelector=spec.color%3Dred", 400, "BadRequest", "field label not supported: spec.color");
        await FailsAsync(HttpMethod.Get, "/api/v1/pods?continue=nonsense", 400, "BadRequest", "continue key is not valid");
    }

    [Theory]
    [InlineData("{")]
    [InlineData("[]")]
    [InlineData("{\"metadata\":{\"name\":\"x\"},\"metadata\":{}}")]
    [InlineData("{\"metadata\":[]}")]
    [InlineData("")]
    public async Task A_malformed_body_is_400_with_a_reason(string body)
    {
        var status = await api.PostAsync(Maps, body, HttpStatusCode.BadRequest);
        Assert.Equal("BadRequest", status.Text("reason"));
        Assert.NotEmpty(status.Text("message"));
    }

    [Fact]
    public async Task A_body_above_3_MiB_is_413_and_the_connection_goes_on()
    {
        var large = new JsonObject { ["metadata"] = new JsonObject { ["name"] = "large" }, ["data"] = new JsonObject { ["k"] = new string('x', 3 * 1024 * 1024) } };
        var status = await api.PostAsync(Maps, large.ToJsonString(), HttpStatusCode.RequestEntityTooLarge);
        Assert.Equal("RequestEntityTooLarge", status.Text("reason"));
        await api.GetAsync(Maps);
    }

    [Fact]
    public async Task Formats_that_are_not_served_are_415_and_406()
    {
        Assert.Equal("UnsupportedMediaType", (await api.SendAsync(HttpMethod.Post, Maps, HttpStatusCode.UnsupportedMediaType, "x", "text/plain")).Text("reason"));
        Assert.Equal("NotAcceptable", (await api.SendAsync(HttpMethod.Get, Maps, HttpStatusCode.NotAcceptable, accept: "application/vnd.kubernetes.protobuf")).Text("reason"));
        Assert.Contains("fieldManager: Required value", (await api.SendAsync(HttpMethod.Patch, Maps + "/x", HttpStatusCode.UnprocessableEntity, "{}", "application/apply-patch+yaml")).Text("message"));
        var list = await api.SendAsync(HttpMethod.Get, Maps, HttpStatusCode.OK, accept: "application/vnd.kubernetes.protobuf,application/json");
        Assert.Equal("ConfigMapList", list.Kind());
    }

    [Fact]
    public async Task A_YAML_body_is_read()
    {
        var made = await api.SendAsync(HttpMethod.Post, Maps, HttpStatusCode.Created, "metadata:\n  name: from-yaml\ndata:\n  a: \"1\"\n  b: text\n", "application/yaml");
        Assert.Equal("1", made.Text("data", "a"));
    }

    [Fact]
    public async Task A_stale_update_is_a_conflict_and_one_without_version_overwrites()
    {
        var first = await api.PostAsync(Maps, """{"metadata":{"name":"c"},"data":{"k":"1"}}""");
        var second = first.DeepClone().AsObject();
        second.Child("data")["k"] = "2";
        await api.PutAsync(Maps + "/c", second);
        second.Child("data")["k"] = "3";
        var status = await api.PutAsync(Maps + "/c", second, HttpStatusCode.Conflict);
        Assert.Equal("Operation cannot be fulfilled on configmaps \"c\": the object has been modified; please apply your changes to the latest version and try again", status.Text("message"));
        second.Child("metadata").Remove("resourceVersion");
        Assert.Equal("3", (await api.PutAsync(Maps + "/c", second)).Text("data", "k"));
        await api.PatchAsync(Maps + "/c", "merge", $$$"""{"metadata":{"resourceVersion":"{{{first.ResourceVersion()}}}"},"data":{"k":"4"}}""", HttpStatusCode.Conflict);
    }

    [Fact]
    public async Task An_update_that_changes_nothing_writes_nothing()
    {
        var first = await api.PostAsync(Maps, """{"metadata":{"name":"same"},"data":{"k":"1"}}""");
        Assert.Equal(first.ResourceVersion(), (await api.PutAsync(Maps + "/same", first)).ResourceVersion());
        Assert.Equal(first.ResourceVersion(), (await api.PatchAsync(Maps + "/same", "merge", """{"data":{"k":"1"}}""")).ResourceVersion());
    }

    [Fact]
    public async Task Concurrent_patches_all_take_effect()
    {
        await api.PostAsync(Maps, """{"metadata":{"name":"busy"}}""");
        await Task.WhenAll(Enumerable.Range(0, 20).Select(i => api.PatchAsync(Maps + "/busy", "merge", $$$"""{"data":{"k{{{i}}}":"v"}}""")));
        Assert.Equal(20, (await api.GetAsync(Maps + "/busy"))["data"]!.AsObject().Count);
    }

    [Fact]
    public async Task A_JSON_patch_that_fails_its_test_is_422_and_changes_nothing()
    {
        await api.PostAsync(Maps, """{"metadata":{"name":"jp"},"data":{"k":"1"}}""");
        await api.PatchAsync(Maps + "/jp", "json", """[{"op":"test","path":"/data/k","value":"2"},{"op":"remove","path":"/data/k"}]""", HttpStatusCode.UnprocessableEntity);
        await api.PatchAsync(Maps + "/jp", "json", """{"op":"remove"}""", HttpStatusCode.BadRequest);
        Assert.Equal("1", (await api.GetAsync(Maps + "/jp")).Text("data", "k"));
        Assert.Null((await api.PatchAsync(Maps + "/jp", "json", """[{"op":"remove","path":"/data/k"}]""")).At("data", "k"));
    }

    [Fact]
    public async Task Fields_that_a_built_in_kind_does_not_have_are_dropped_told_or_refused()
    {
        const string pods = "/api/v1/namespaces/default/pods";
        foreach (var mode in new[] { "Warn", "Ignore" })
        {
            var made = await api.PostAsync($"{pods}?fieldValidation={mode}", """{"metadata":{"generateName":"unknown-","labelz":{}},"spech":1,"spec":{"containers":[{"name":"c","image":"i","imagee":"x","env":[{"name":"A","valuee":"1"}]}],"nodeSelector":{"any":"x"}}}""");
            Assert.Null(made["spech"]);
            Assert.Null(made.At("metadata", "labelz"));
            Assert.Equal(["name", "image"], made.Items("spec", "containers").Single().Select(pair => pair.Key).Take(2));
            Assert.Null(made.Items("spec", "containers").Single()["imagee"]);
            Assert.Equal("""[{"name":"A"}]""", made.Items("spec", "containers").Single()["env"]!.ToJsonString());
            Assert.Equal("x", made.Text("spec", "nodeSelector", "any"));
        }

        await api.PostAsync(pods + "?fieldValidation=Strict", """{"metadata":{"name":"strict"},"spech":1,"spec":{"containers":[{"name":"c","image":"i"}]}}""", HttpStatusCode.BadRequest);
    }

    [Fact]
    public async Task Concurrent_patches_of_the_scale_all_take_effect()
    {
        const string sets = "/apis/apps/v1/namespaces/default/replicasets";
        await api.PostAsync(sets, """{"metadata":{"name":"scaled"},"spec":{"replicas":1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}""");
        await Task.WhenAll(Enumerable.Range(2, 40).Select(i => api.PatchAsync(sets + "/scaled/scale", "merge", $$$"""{"spec":{"replicas":{{{i}}}}}""")));
        var stale = (await api.GetAsync(sets + "/scaled/scale")).ResourceVersion();
        await api.PatchAsync(sets + "/scaled/scale", "merge", """{"spec":{"replicas":50}}""");
        await api.PatchAsync(sets + "/scaled/scale", "merge", $$$"""{"metadata":{"resourceVersion":"{{{stale}}}"},"spec":{"replicas":60}}""", HttpStatusCode.Conflict);
    }

    [Fact]
    public async Task A_jobs_selector_with_an_unknown_operator_is_told()
    {
        var status = await api.PostAsync("/apis/batch/v1/namespaces/default/jobs", """
            {"metadata":{"name":"odd"},"spec":{"manualSelector":true,"selector":{"matchExpressions":[{"key":"a","operator":"Near","values":["b"]}]},
             "template":{"metadata":{"labels":{"a":"b"}},"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}
            """, HttpStatusCode.UnprocessableEntity);
        Assert.Contains("spec.selector.matchExpressions[0].operator: Invalid value: \"Near\": not a valid selector operator", status.Text("message"));
    }

    [Fact]
    public async Task A_dry_run_answers_as_if_and_stores_nothing()
    {
        await api.PostAsync(Maps + "?dryRun=All", """{"metadata":{"name":"dry"}}""");
        await api.GetAsync(Maps + "/dry", HttpStatusCode.NotFound);
        await api.PostAsync(Maps, """{"metadata":{"name":"dry"},"data":{"k":"1"}}""");
        Assert.Equal("2", (await api.PatchAsync(Maps + "/dry?dryRun=All", "merge", """{"data":{"k":"2"}}""")).Text("data", "k"));
        await api.DeleteAsync(Maps + "/dry?dryRun=All");
        Assert.Equal("1", (await api.GetAsync(Maps + "/dry")).Text("data", "k"));
    }

    [Fact]
    public async Task StringData_of_a_Secret_is_stored_as_base64()
    {
        var made = await api.PostAsync("/api/v1/namespaces/default/secrets", """{"metadata":{"name":"s"},"stringData":{"k":"v"}}""");
        Assert.Equal("dg==", made.Text("data", "k"));
        Assert.Null(made["stringData"]);
    }

    [Fact]
    public async Task Status_writes_leave_the_spec_and_spec_writes_leave_the_status()
    {
        const string pods = "/api/v1/namespaces/default/pods";
        await api.PostAsync(pods, """{"metadata":{"name":"st"},"spec":{"containers":[{"name":"c","image":"i"}]},"status":{"podIP":"9.9.9.9"}}""");
        var put = await api.GetAsync(pods + "/st");
        Assert.NotEqual("9.9.9.9", put.Text("status", "podIP"));
        put["status"] = new JsonObject { ["phase"] = "Running", ["podIP"] = "1.2.3.4" };
        put["spec"]!["containers"]![0]!["image"] = "other";
        var updated = await api.PutAsync(pods + "/st/status", put);
        Assert.Equal(("Running", "i"), (updated.Text("status", "phase"), updated.Items("spec", "containers").First().Text("image")));
        var patched = await api.PatchAsync(pods + "/st", "strategic-merge", """{"spec":{"containers":[{"name":"c","image":"new"}]},"status":{"phase":"Failed"}}""");
        Assert.Equal(("Running", "new"), (patched.Text("status", "phase"), patched.Items("spec", "containers").First().Text("image")));
    }

    [Fact]
    public async Task A_lease_is_made_by_PUT_and_needs_a_version_to_be_replaced()
    {
        const string lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1";
        var made = await api.PutAsync(lease, new JsonObject { ["metadata"] = new JsonObject { ["name"] = "n1" }, ["spec"] = new JsonObject { ["holderIdentity"] = "n1" } }, HttpStatusCode.Created);
        await api.PutAsync(lease, made);
        made.Child("metadata").Remove("resourceVersion");
        made.Child("spec")["holderIdentity"] = "n2";
        Assert.Equal("Invalid", (await api.PutAsync(lease, made, HttpStatusCode.UnprocessableEntity)).Text("reason"));
    }

    [Fact]
    public async Task A_service_account_token_identifies_its_account_until_that_is_deleted()
    {
        const string account = "/api/v1/namespaces/default/serviceaccounts/robot";
        await api.PostAsync("/api/v1/namespaces/default/serviceaccounts", """{"metadata":{"name":"robot"}}""");
        var token = (await api.PostAsync(account + "/token", """{"spec":{"expirationSeconds":600}}""")).Text("status", "token");
        using var client = api.NewClient();
        client.DefaultRequestHeaders.Authorization = new("Bearer", token);
        using (var response = await client.GetAsync(new Uri("/api/v1/namespaces/default/pods", UriKind.Relative)))
        {
            Assert.Equal(HttpStatusCode.Forbidden, response.StatusCode);
            Assert.Contains("User \\\"system:serviceaccount:default:robot\\\" cannot list resource \\\"pods\\\" in API group \\\"\\\" in the namespace \\\"default\\\"", await response.Content.ReadAsStringAsync());
        }

        await api.DeleteAsync(account);
        using var gone = await client.GetAsync(new Uri("/api", UriKind.Relative));
        Assert.Equal(HttpStatusCode.Unauthorized, gone.StatusCode);
    }

    private async Task FailsAsync(HttpMethod method, string path, int code, string reason, string message, string? body = null)
    {
        var status = await api.SendAsync(method, path, (HttpStatusCode)code, body);
        Assert.Equal((reason, message, code), (status.Text("reason"), status.Text("message"), (int)status.Number(0, "code")));
        Assert.Equal(("Status", "Failure"), (status.Kind(), status.Text("status")));
    }
}

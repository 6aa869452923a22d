using System.Net;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Rest;

/// <summary>Token requests and reviews, and access reviews, as controllers send them.</summary>
[Trait("Category", "Kubernetes")]
public sealed class ReviewTests(ApiFixture api) : IClassFixture<ApiFixture>
{
    private const string TokenReviews = "/apis/authentication.k8s.io/v1/tokenreviews";

    [Fact]
    public async Task A_bound_token_says_what_it_is_bound_to_and_ends_with_it()
    {
        var ns = await api.NamespaceAsync();
        var account = await api.PostAsync($"/api/v1/namespaces/{ns}/serviceaccounts", """{"metadata":{"name":"robot"}}""");
        var pod = await api.PostAsync($"/api/v1/namespaces/{ns}/pods", """{"metadata":{"name":"p"},"spec":{"serviceAccountName":"robot","containers":[{"name":"c","image":"i"}]}}""");
        var token = await TokenAsync(ns, """{"spec":{"expirationSeconds":600,"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"p"}}}""");
        var status = (await ReviewAsync(token)).Child("status");
        Assert.True(status.Flag(false, "authenticated"));
        Assert.Equal(($"system:serviceaccount:{ns}:robot", account.Uid()), (status.Text("user", "username"), status.Text("user", "uid")));
        Assert.Contains($"system:serviceaccounts:{ns}", status.Texts("user", "groups"));
        Assert.Equal(["p", pod.Uid()], status.Texts("user", "extra", "authentication.kubernetes.io/pod-name").Concat(status.Texts("user", "extra", "authentication.kubernetes.io/pod-uid")));
        await api.DeleteAsync($"/api/v1/namespaces/{ns}/pods/p");
        Assert.False((await ReviewAsync(token)).Flag(false, "status", "authenticated"));
    }

    [Fact]
    public async Task A_token_is_good_for_its_audiences_alone()
    {
        var ns = await api.NamespaceAsync();
        await api.PostAsync($"/api/v1/namespaces/{ns}/serviceaccounts", """{"metadata":{"name":"robot"}}""");
        var token = await TokenAsync(ns, """{"spec":{"audiences":["vault","other"]}}""");
        Assert.False((await ReviewAsync(token)).Flag(false, "status", "authenticated"));
        var review = await ReviewAsync(token, "vault", "third");
        Assert.True(review.Flag(false, "status", "authenticated"));
        Assert.Equal(["vault"], review.Texts("status", "audiences"));
        using var client = api.NewClient();
        client.DefaultRequestHeaders.Authorization = new("Bearer", token);
        Assert.Equal(HttpStatusCode.Unauthorized, (await client.GetAsync(new Uri("/api", UriKind.Relative))).StatusCode);
        Assert.Equal("invalid bearer token", (await ReviewAsync("nonsense")).Text("status", "error"));
    }

    [Theory]
    [InlineData("""{"spec":{"expirationSeconds":599}}""", HttpStatusCode.UnprocessableEntity, "may not specify a duration less than 10 minutes")]
    [InlineData("""{"spec":{"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"none"}}}""", HttpStatusCode.NotFound, "pods \"none\" not found")]
    [InlineData("""{"spec":{"boundObjectRef":{"kind":"ConfigMap","apiVersion":"v1","name":"m"}}}""", HttpStatusCode.BadRequest, "supported kinds: Pod, Secret, Node")]
    [InlineData("""{"spec":{"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"others"}}}""", HttpStatusCode.BadRequest, "different serviceaccount name")]
    public async Task Token_requests_that_cannot_be_are_told_why(string body, HttpStatusCode code, string message)
    {
        var ns = await api.NamespaceAsync();
        foreach (var account in (string[])["robot", "another"])
            await api.PostAsync($"/api/v1/namespaces/{ns}/serviceaccounts", $$$"""{"metadata":{"name":"{{{account}}}"}}""");
        await api.PostAsync($"/api/v1/namespaces/{ns}/pods", """{"metadata":{"name":"others"},"spec":{"serviceAccountName":"another","containers":[{"name":"c","image":"i"}]}}""");
        Assert.Contains(message, (await api.PostAsync($"/api/v1/namespaces/{ns}/serviceaccounts/robot/token", body, code)).Text("message"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Access_reviews_answer_for_others_and_refuse_nonsense()
    {
        var ns = await api.NamespaceAsync();
        await api.PostAsync($"/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/rolebindings",
            """{"metadata":{"name":"b"},"roleRef":{"kind":"ClusterRole","name":"view"},"subjects":[{"kind":"Group","name":"team"}]}""");
        var local = $"/apis/authorization.k8s.io/v1/namespaces/{ns}/localsubjectaccessreviews";
        string Body(string inside) => $$$$"""{"spec":{"groups":["team"],"resourceAttributes":{"namespace":"{{{{inside}}}}","verb":"list","resource":"pods"}}}""";
        var allowed = await api.PostAsync(local, Body(ns));
        Assert.True(allowed.Flag(false, "status", "allowed"));
        Assert.Equal($"RBAC: allowed by RoleBinding \"b/{ns}\" of ClusterRole \"view\" to Group \"team\"", allowed.Text("status", "reason"));
        Assert.Contains("must match metadata.namespace", (await api.PostAsync(local, Body("default"), HttpStatusCode.UnprocessableEntity)).Text("message"), StringComparison.Ordinal);
        const string wide = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        Assert.False((await api.PostAsync(wide, Body("default"))).Flag(true, "status", "allowed"));
        Assert.Contains("exactly one of", (await api.PostAsync(wide, """{"spec":{"user":"u"}}""", HttpStatusCode.UnprocessableEntity)).Text("message"), StringComparison.Ordinal);
        Assert.Contains("at least one of user or group", (await api.PostAsync(wide, """{"spec":{"nonResourceAttributes":{"path":"/","verb":"get"}}}""", HttpStatusCode.UnprocessableEntity)).Text("message"), StringComparison.Ordinal);
        await api.GetAsync(wide, HttpStatusCode.MethodNotAllowed);
        var discovered = await api.GetAsync("/apis/authorization.k8s.io/v1");
        Assert.Equal(["localsubjectaccessreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews", "subjectaccessreviews"], discovered.Items("resources").Select(one => one.Text("name")).Order(StringComparer.Ordinal));
        Assert.All(discovered.Items("resources"), one => Assert.Equal(["create"], one.Texts("verbs")));
    }

    private async Task<string> TokenAsync(string ns, string body) => (await api.PostAsync($"/api/v1/namespaces/{ns}/serviceaccounts/robot/token", body)).Text("status", "token");

    private Task<System.Text.Json.Nodes.JsonObject> ReviewAsync(string token, params string[] audiences)
        => api.PostAsync(TokenReviews, $$$"""{"spec":{"token":"{{{token}}}","audiences":[{{{string.Join(",", audiences.Select(one => $"\"{one}\""))}}}]}}""");
}

using System.Net;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Rest;

/// <summary>What a pod gets of its ServiceAccount when it is created (Kubernetes' admission plug-in ServiceAccount).</summary>
[Trait("Category", "Kubernetes")]
public sealed class ServiceAccountAdmissionTests(ApiFixture api) : IClassFixture<ApiFixture>
{
    private const string Path = "/var/run/secrets/kubernetes.io/serviceaccount";

    [Fact]
    public async Task Pod_gets_its_accounts_token_the_apis_ca_and_its_namespace_where_in_cluster_clients_look()
    {
        var ns = await api.NamespaceAsync();
        await api.PostAsync($"/api/v1/namespaces/{ns}/serviceaccounts", """{"metadata":{"name":"robot"},"imagePullSecrets":[{"name":"registry"}]}""");
        var spec = await SpecAsync(
            ns, """{"serviceAccountName":"robot","initContainers":[{"name":"i","image":"i"}],"containers":[{"name":"c","image":"i","volumeMounts":[{"name":"data","mountPath":"/data"}]}],"volumes":[{"name":"data","emptyDir":{}}]}""");
        var volume = spec.Items("volumes").Last();
        Assert.StartsWith("kube-api-access-", volume.Text("name"), StringComparison.Ordinal);
        Assert.True(JsonNode.DeepEquals(volume["projected"], JsonNode.Parse("""
            {"defaultMode":420,"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},{"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}},
              {"downwardAPI":{"items":[{"path":"namespace","fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"}}]}}]}
            """)), volume.ToJsonString());
        foreach (var container in spec.Items("initContainers").Concat(spec.Items("containers")))
        {
            var mount = container.Items("volumeMounts").Last();
            Assert.Equal((volume.Text("name"), Path, true), (mount.Text("name"), mount.Text("mountPath"), mount.Flag(false, "readOnly")));
        }

        Assert.Equal("registry", spec.Items("imagePullSecrets").Single().Text("name"));
        Assert.NotEqual(volume.Text("name"), (await SpecAsync(ns, """{"serviceAccountName":"robot","containers":[{"name":"c","image":"i"}]}""")).Items("volumes").Single().Text("name"));
        Assert.Equal("registry", (await SpecAsync(ns, """{"serviceAccountName":"robot","imagePullSecrets":[],"containers":[{"name":"c","image":"i"}]}""")).Items("imagePullSecrets").Single().Text("name"));
        // A pull Secret of its own is the pod's choice.
        Assert.Equal("mine", (await SpecAsync(ns, """{"serviceAccountName":"robot","imagePullSecrets":[{"name":"mine"}],"containers":[{"name":"c","image":"i"}]}""")).Items("imagePullSecrets").Single().Text("name"));
    }

    [Theory]
    [InlineData("default", "", "", 1)] // the namespace's own account comes in a moment
    [InlineData("silent", "", "", 0)]
    [InlineData("silent", "\"automountServiceAccountToken\":true,", "", 1)]
    [InlineData("robot", "\"automountServiceAccountToken\":false,", "", 0)]
    [InlineData("robot", "", "\"volumeMounts\":[{\"name\":\"own\",\"mountPath\":\"/var/run/secrets/kubernetes.io/serviceaccount\"}],", 0)]
    public async Task Token_is_mounted_unless_pod_account_or_container_say_otherwise(string account, string pod, string container, int mounts)
    {
        var ns = await api.NamespaceAsync();
        await api.PostAsync($"/api/v1/namespaces/{ns}/serviceaccounts", """{"metadata":{"name":"robot"}}""");
        await api.PostAsync($"/api/v1/namespaces/{ns}/serviceaccounts", """{"metadata":{"name":"silent"},"automountServiceAccountToken":false}""");
        var spec = await SpecAsync(ns, $$"""{ {{pod}} "serviceAccountName":"{{account}}","containers":[{ {{container}} "name":"c","image":"i"}],"volumes":[{"name":"own","emptyDir":{ } }]}""");
        Assert.Equal(mounts, spec.Items("volumes").Count(volume => volume.Text("name").StartsWith("kube-api-access-", StringComparison.Ordinal)));
        Assert.Equal(mounts, spec.Items("containers").Single().Items("volumeMounts").Count(mount => mount.Text("name").StartsWith("kube-api-access-", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task Pod_of_an_account_that_is_not_there_is_refused_and_a_mirror_pod_gets_nothing()
    {
        var ns = await api.NamespaceAsync();
        var refused = await api.PostAsync($"/api/v1/namespaces/{ns}/pods", """{"metadata":{"name":"p"},"spec":{"serviceAccountName":"none","containers":[{"name":"c","image":"i"}]}}""", HttpStatusCode.Forbidden);
        Assert.Equal($"pods \"p\" is forbidden: error looking up service account {ns}/none: serviceaccount \"none\" not found", refused.Text("message"));
        var mirror = await api.PostAsync(
            $"/api/v1/namespaces/{ns}/pods", """{"metadata":{"name":"static","annotations":{"kubernetes.io/config.mirror":"x"}},"spec":{"nodeName":"n","containers":[{"name":"c","image":"i"}]}}""");
        Assert.Empty(mirror.Items("spec", "volumes"));
    }

    private async Task<JsonObject> SpecAsync(string ns, string spec)
        => (await api.PostAsync($"/api/v1/namespaces/{ns}/pods", $$$"""{"metadata":{"generateName":"p-"},"spec":{{{spec}}}}""")).Child("spec");
}

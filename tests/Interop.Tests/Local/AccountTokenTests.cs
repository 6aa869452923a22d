using System.Buffers.Text;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Xunit;

namespace Edge.Interop.Tests;

/// <summary>A service account token on its whole way: kubectl, API server, CloudCore, EdgeCore, container.</summary>
[Trait("Category", "Interop")]
[Collection(nameof(EdgeCollection))]
public sealed class AccountTokenTests(SharedEdge shared)
{
    private const string Manifest = """
        {"apiVersion":"v1","kind":"Pod","metadata":{"name":"tokened","namespace":"default"},"spec":{
          "nodeSelector":{"kubernetes.io/hostname":"edge-1"},"tolerations":[{"operator":"Exists"}],"terminationGracePeriodSeconds":1,
          "volumes":[{"name":"kube-api-access","projected":{"sources":[
            {"serviceAccountToken":{"path":"token","expirationSeconds":3607}},
            {"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}},
            {"downwardAPI":{"items":[{"path":"namespace","fieldRef":{"fieldPath":"metadata.namespace"}}]}}]}}],
          "containers":[{"name":"main","image":"edge.local/busybox:1","command":["sleep","1000"],
            "volumeMounts":[{"name":"kube-api-access","mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}]}]}}
        """;

    [SkippableFact]
    public async Task A_pod_has_a_token_of_its_own_signed_by_the_API_server()
    {
        var edge = await shared.GetAsync();
        await edge.KubectlAsync("apply -f -", Manifest);
        try
        {
            JsonObject pod = [];
            await edge.WaitForAsync("the pod runs", async () =>
            {
                pod = await edge.Client.GetAsync(ResourceKind.Pod, "default", "tokened", CancellationToken.None);
                return pod.Text("status", "phase") == "Running";
            });
            var container = pod.Items("status", "containerStatuses").Single().Text("containerID")["containerd://".Length..];
            Task<string> ReadAsync(string file) => edge.ExecAsync(container, "cat", "/var/run/secrets/kubernetes.io/serviceaccount/" + file);

            var claims = JsonNode.Parse(Base64Url.DecodeFromChars((await ReadAsync("token")).Trim().Split('.')[1]))!;
            Assert.Equal("system:serviceaccount:default:default", claims.Text("sub"));
            Assert.Equal(("tokened", pod.Uid()), (claims.Text("kubernetes.io", "pod", "name"), claims.Text("kubernetes.io", "pod", "uid")));
            Assert.Equal(3607, claims.Number(0, "exp") - claims.Number(0, "iat"));
            Assert.Equal("default", (await ReadAsync("namespace")).Trim());
            Assert.StartsWith("-----BEGIN CERTIFICATE-----", await ReadAsync("ca.crt"), StringComparison.Ordinal);

            // The API server takes it, is known by the CA beside it, and refuses a token whose signature is another's.
            var token = (await ReadAsync("token")).Trim();
            var server = (await edge.KubectlAsync("config view --raw -o jsonpath={.clusters[0].cluster.server}")).Trim();
            using var authority = X509Certificate2.CreateFromPem(await ReadAsync("ca.crt"));
            Assert.Equal(HttpStatusCode.OK, await AskAsync(server, authority, token));
            Assert.Equal(HttpStatusCode.Unauthorized, await AskAsync(server, authority, token[..^20] + (token[^20] == 'A' ? 'B' : 'A') + token[^19..]));

            // It is in no log.
            var logs = Directory.EnumerateFiles(edge.Local.Directory, "*.log", SearchOption.AllDirectories).Select(ReadShared);
            var signature = token.Split('.')[2];
            Assert.DoesNotContain(logs, text => text.Contains(signature, StringComparison.Ordinal));
        }
        finally
        {
            await edge.KubectlAsync("delete pod tokened --ignore-not-found --timeout=30s");
        }
    }

    private static async Task<HttpStatusCode> AskAsync(string server, X509Certificate2 authority, string token)
    {
        using var handler = new SocketsHttpHandler();
        handler.SslOptions.CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        handler.SslOptions.CertificateChainPolicy.CustomTrustStore.Add(authority);
        using var client = new HttpClient(handler);
        using var request = new HttpRequestMessage(HttpMethod.Get, server + "/api");
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        using var answer = await client.SendAsync(request);
        return answer.StatusCode;
    }

    private static string ReadShared(string path)
    {
        using var reader = new StreamReader(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete), Encoding.UTF8);
        return reader.ReadToEnd();
    }
}

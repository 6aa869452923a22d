using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using Edge.ApiServer.Certificates;
using Edge.ApiServer.Tests.Rest;
using Edge.Kubernetes;
using Edge.Testing;

namespace Edge.ApiServer.Tests.Kubectl;

/// <summary>CertificateSigningRequests through the stock kubectl, and what the signed certificates are good for.</summary>
[Trait("Category", "Kubernetes")]
public sealed class CertificateTests(ApiFixture api) : IClassFixture<ApiFixture>
{
    public static TheoryData<string> Binaries => KubectlTests.Binaries;

    [SkippableTheory]
    [MemberData(nameof(Binaries))]
    [KubectlVerb("certificate", "approve")]
    public async Task An_approved_request_becomes_a_certificate_that_logs_in(string kubectl)
    {
        var run = await RunnerAsync(kubectl);
        var name = run.Namespace;
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        await run.OkAsync($"apply -f {run.File("csr.yaml", Csr(name, SigningPolicy.Client, Request(key, $"O=team, CN={name}"), "client auth", 3600))}");
        Assert.Matches($@"NAME\s+AGE\s+SIGNERNAME\s+REQUESTOR\s+REQUESTEDDURATION\s+CONDITION\s+{name}\s+\S+\s+kubernetes.io/kube-apiserver-client\s+kubernetes-admin\s+60m\s+Pending", await run.OkAsync($"get csr {name}"));
        Assert.Contains("approved", await run.OkAsync($"certificate approve {name}"));
        await run.OkAsync($"wait csr {name} --for=jsonpath={{.status.certificate}} --timeout=30s");
        Assert.Matches("Approved,Issued", await run.OkAsync($"get csr {name}"));
        Assert.Contains("kubernetes-admin", await run.OkAsync($"describe csr {name}"));

        var pem = Encoding.ASCII.GetString(Convert.FromBase64String(await run.OkAsync($"get csr {name} -o jsonpath={{.status.certificate}}")));
        using var certificate = X509Certificate2.CreateFromPem(pem, key.ExportPkcs8PrivateKeyPem());
        Assert.InRange(certificate.NotAfter.ToUniversalTime(), DateTime.UtcNow.AddMinutes(30), DateTime.UtcNow.AddMinutes(61));
        await run.OkAsync("create rolebinding team --clusterrole=view --group=team");
        using var client = api.NewClient(certificate);
        using var allowed = await client.GetAsync(new Uri($"/api/v1/namespaces/{name}/pods", UriKind.Relative));
        Assert.Equal(HttpStatusCode.OK, allowed.StatusCode);
        using var refused = await client.GetAsync(new Uri("/api/v1/nodes", UriKind.Relative));
        Assert.Contains($"User \\\"{name}\\\" cannot list resource \\\"nodes\\\"", await refused.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [SkippableTheory]
    [MemberData(nameof(Binaries))]
    [KubectlVerb("certificate", "deny")]
    public async Task A_denied_or_unfit_request_is_not_signed(string kubectl)
    {
        var run = await RunnerAsync(kubectl);
        var name = run.Namespace;
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        await run.OkAsync($"apply -f {run.File("csr.yaml", Csr(name, SigningPolicy.Client, Request(key, $"CN={name}"), "client auth"))}");
        await run.OkAsync($"certificate deny {name}");
        Assert.Matches("Denied", await run.OkAsync($"get csr {name}"));
        Assert.Contains("already Denied", await run.FailAsync($"certificate approve {name} --force"), StringComparison.Ordinal);

        await run.OkAsync($"apply -f {run.File("unfit.yaml", Csr(name + "-unfit", SigningPolicy.NodeClient, Request(key, $"CN={name}"), "client auth"))}");
        await run.OkAsync($"certificate approve {name}-unfit");
        await run.OkAsync($"wait csr {name}-unfit --for=condition=Failed --timeout=30s");
        Assert.Equal("subject organization is not system:nodes", await run.OkAsync($"get csr {name}-unfit -o jsonpath={{.status.conditions[1].message}}"));

        var masters = await run.FailAsync($"apply -f {run.File("masters.yaml", Csr(name + "-m", SigningPolicy.Client, Request(key, "O=system:masters, CN=x"), "client auth"))}");
        Assert.Contains("use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed", masters, StringComparison.Ordinal);
        Assert.Contains("spec.request: Invalid value", await run.FailAsync($"apply -f {run.File("bad.yaml", Csr(name + "-bad", SigningPolicy.Client, "no PEM", "client auth"))}"), StringComparison.Ordinal);
    }

    [SkippableTheory]
    [MemberData(nameof(Binaries))]
    public async Task A_node_gets_its_certificates_and_with_them_its_own_objects_alone(string kubectl)
    {
        var run = await RunnerAsync(kubectl);
        var node = $"node-{run.Namespace}";
        await run.OkAsync($"create clusterrolebinding {node} --clusterrole=system:certificates.k8s.io:certificatesigningrequests:nodeclient --user=boot");
        await run.OkAsync($"create clusterrole {node} --verb=create,get --resource=certificatesigningrequests.certificates.k8s.io");
        await run.OkAsync($"create clusterrolebinding {node}-ask --clusterrole={node} --user=boot");
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        await run.OkAsync($"create -f {run.File("node.yaml", Csr(node, SigningPolicy.NodeClient, Request(key, $"O=system:nodes, CN=system:node:{node}"), "client auth"))} --as boot");
        await run.OkAsync($"wait csr {node} --for=jsonpath={{.status.certificate}} --timeout=30s"); // approved by itself
        var pem = Encoding.ASCII.GetString(Convert.FromBase64String(await run.OkAsync($"get csr {node} -o jsonpath={{.status.certificate}}")));
        using var certificate = X509Certificate2.CreateFromPem(pem, key.ExportPkcs8PrivateKeyPem());
        using var client = api.NewClient(certificate);
        Assert.Equal(HttpStatusCode.Created, await PostAsync(client, "/api/v1/nodes", new JsonObject { ["metadata"] = new JsonObject { ["name"] = node } }));
        Assert.Equal(HttpStatusCode.Forbidden, await PostAsync(client, "/api/v1/nodes", new JsonObject { ["metadata"] = new JsonObject { ["name"] = node + "-other" } }));
        Assert.Equal(HttpStatusCode.OK, await GetAsync(client, $"/api/v1/nodes/{node}"));
        Assert.Equal(HttpStatusCode.OK, await GetAsync(client, $"/api/v1/pods?fieldSelector=spec.nodeName%3D{node}"));
        Assert.Equal(HttpStatusCode.Forbidden, await GetAsync(client, "/api/v1/pods"));
        await run.OkAsync("create secret generic s --from-literal=a=b");
        Assert.Equal(HttpStatusCode.Forbidden, await GetAsync(client, $"/api/v1/namespaces/{run.Namespace}/secrets/s"));
        await run.OkAsync($"apply -f {run.File("pod.yaml", $$$"""{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"nodeName":"{{{node}}}","containers":[{"name":"c","image":"i","envFrom":[{"secretRef":{"name":"s"}}]}]}}""")}");
        Assert.Equal(HttpStatusCode.OK, await GetAsync(client, $"/api/v1/namespaces/{run.Namespace}/secrets/s"));

        // Its serving certificate it asks for itself; that one is approved by hand.
        using var servingKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var serving = new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = node + "-serving" },
            ["spec"] = new JsonObject
            {
                ["signerName"] = SigningPolicy.NodeServing, ["usages"] = new JsonArray("server auth", "digital signature"),
                ["request"] = Convert.ToBase64String(Encoding.ASCII.GetBytes(Request(servingKey, $"O=system:nodes, CN=system:node:{node}", node))),
            },
        };
        Assert.Equal(HttpStatusCode.Created, await PostAsync(client, "/apis/certificates.k8s.io/v1/certificatesigningrequests", serving));
        await run.OkAsync($"certificate approve {node}-serving");
        await run.OkAsync($"wait csr {node}-serving --for=jsonpath={{.status.certificate}} --timeout=30s");
        using var server = X509Certificate2.CreateFromPem(Encoding.ASCII.GetString(Convert.FromBase64String(await run.OkAsync($"get csr {node}-serving -o jsonpath={{.status.certificate}}"))));
        Assert.True(server.MatchesHostname(node));
    }

    [Fact]
    [Trait("Category", "Unit")]
    public void Old_requests_are_cleaned_away_sooner_when_they_are_done()
    {
        var now = DateTimeOffset.UnixEpoch;
        Assert.Equal(now.AddDays(1), SigningPolicy.CleanAt([], now));
        Assert.Equal(now.AddHours(1), SigningPolicy.CleanAt(Json.Object("""{"status":{"conditions":[{"type":"Denied"}]}}"""), now));
    }

    private static string Request(ECDsa key, string subject, string? dnsName = null)
    {
        var request = new CertificateRequest(subject, key, HashAlgorithmName.SHA256);
        if (dnsName is not null)
        {
            var names = new SubjectAlternativeNameBuilder();
            names.AddDnsName(dnsName);
            request.CertificateExtensions.Add(names.Build());
        }

        return request.CreateSigningRequestPem();
    }

    private static string Csr(string name, string signer, string pem, string usage, int seconds = 86_400) => $$"""
        apiVersion: certificates.k8s.io/v1
        kind: CertificateSigningRequest
        metadata: {name: {{name}} }
        spec:
          signerName: {{signer}}
          request: {{Convert.ToBase64String(Encoding.ASCII.GetBytes(pem))}}
          expirationSeconds: {{seconds}}
          usages: [{{usage}}]
          username: somebody-else
        """;

    private static async Task<HttpStatusCode> GetAsync(HttpClient client, string path)
    {
        using var response = await client.GetAsync(new Uri(path, UriKind.Relative));
        return response.StatusCode;
    }

    private static async Task<HttpStatusCode> PostAsync(HttpClient client, string path, JsonObject body)
    {
        using var content = new StringContent(body.ToJsonString(), Encoding.UTF8, "application/json");
        using var response = await client.PostAsync(new Uri(path, UriKind.Relative), content);
        return response.StatusCode;
    }

    private async Task<KubectlRunner> RunnerAsync(string kubectl)
    {
        Skip.If(kubectl.Length == 0, "no kubectl on PATH or in EDGE_KUBECTL");
        return new KubectlRunner(kubectl, api.Server.KubeconfigPath, await api.NamespaceAsync(), Directory.CreateDirectory(Path.Combine(api.Directory, Guid.NewGuid().ToString("N"))).FullName);
    }
}

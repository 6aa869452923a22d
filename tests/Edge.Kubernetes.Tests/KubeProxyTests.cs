using System.Net;

namespace Edge.Kubernetes.Tests;

/// <summary>What is sent is what the caller asked for, to the byte of its path.</summary>
[Trait("Category", "Unit")]
public sealed class KubeProxyTests
{
    [Theory]
    [InlineData("/api/v1/nodes?watch=true&fieldSelector=metadata.name%3Da", "/api/v1/nodes?watch=true&fieldSelector=metadata.name%3Da")]
    [InlineData("/api/v1/namespaces/default/configmaps/a%2Fb", "/api/v1/namespaces/default/configmaps/a%2Fb")]
    [InlineData("/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node", "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node")]
    [InlineData(@"/api/v1\secrets", null)]
    [InlineData("/api/v1/nodes/../secrets", null)]
    [InlineData("/api/v1/./nodes", null)]
    [InlineData("/api/v1/%2e%2e/nodes", null)]
    [InlineData("/api/v1/secrets#/nodes", null)]
    [InlineData("@elsewhere.example/api", null)]
    [InlineData(".elsewhere.example/api", null)]
    [InlineData("0/api", null)]
    public async Task A_path_is_sent_as_it_stands_or_not_at_all(string target, string? sent)
    {
        foreach (var prefix in (string[])["", "/k8s/clusters/one"])
        {
            using var api = new Recorder();
            using var proxy = new KubeProxy(new KubeClientOptions { Server = new Uri("https://api.example:6443" + prefix), Handler = api }, TimeProvider.System);
            if (sent is null)
            {
                var refused = await Assert.ThrowsAsync<KubeException>(() => proxy.SendAsync(HttpMethod.Get, target, "", "", default, "", CancellationToken.None));
                Assert.Equal(400, refused.Code);
                Assert.Empty(api.Sent);
                continue;
            }

            using var answer = await proxy.SendAsync(HttpMethod.Get, target, "", "", default, "", CancellationToken.None);
            Assert.Equal(["https://api.example:6443" + prefix + sent], api.Sent);
        }
    }

    private sealed class Recorder : HttpMessageHandler
    {
        public List<string> Sent { get; } = [];

        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            Sent.Add(request.RequestUri!.AbsoluteUri);
            return Task.FromResult(new HttpResponseMessage(HttpStatusCode.OK));
        }
    }
}

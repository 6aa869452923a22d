using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Edge.Common.Configuration;
using Microsoft.AspNetCore.Http;

namespace Edge.Kubernetes.Tests;

[Trait("Category", "Kubernetes")]
public sealed class KubeconfigTests : IDisposable
{
    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("edge-kubeconfig-");

    public void Dispose() => _directory.Delete(recursive: true);

    [Fact]
    public void Embedded_data_files_and_the_context_are_read()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var certificate = new CertificateRequest("CN=admin", key, HashAlgorithmName.SHA256)
            .CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        File.WriteAllText(Path.Combine(_directory.FullName, "ca.pem"), certificate.ExportCertificatePem());
        File.WriteAllText(Path.Combine(_directory.FullName, "token"), "from-file");
        var text = $$"""
            apiVersion: v1
            kind: Config
            current-context: second
            clusters:
            - name: c
              cluster: {server: "https://127.0.0.1:6443/base/", certificate-authority: ca.pem, tls-server-name: kube}
            contexts:
            - name: first
              context: {cluster: c, user: data}
            - name: second
              context: {cluster: c, user: token, namespace: 123}
            users:
            - name: data
              user:
                client-certificate-data: {{Convert.ToBase64String(Encoding.UTF8.GetBytes(certificate.ExportCertificatePem()))}}
                client-key-data: {{Convert.ToBase64String(Encoding.UTF8.GetBytes(key.ExportPkcs8PrivateKeyPem()))}}
            - name: token
              user: {tokenFile: token, token: 0123}
            """;
        var path = Path.Combine(_directory.FullName, "config");
        File.WriteAllText(path, text);

        var second = Kubeconfig.Load(path);
        Assert.Equal("https://127.0.0.1:6443/base/", second.Server.AbsoluteUri);
        Assert.Equal("123", second.DefaultNamespace);
        Assert.Equal("0123", second.Token);
        Assert.Equal(Path.Combine(_directory.FullName, "token"), second.TokenFile);
        Assert.Equal("kube", second.TlsServerName);
        Assert.Equal(certificate.ExportCertificatePem(), second.CertificateAuthorityPem);
        Assert.Null(second.ClientCertificate);

        var first = Kubeconfig.Load(path, "first");
        Assert.Equal("default", first.DefaultNamespace);
        Assert.True(first.ClientCertificate!.HasPrivateKey);
        Assert.DoesNotContain("0123", second.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Of_a_list_of_files_the_first_entry_of_a_name_counts_and_missing_files_are_passed_over()
    {
        string Write(string directory, string text)
        {
            var path = Path.Combine(_directory.CreateSubdirectory(directory).FullName, "config");
            File.WriteAllText(path, text);
            return path;
        }

        var clusters = Write("clusters", """
            clusters: [{name: c, cluster: {server: "https://first:6443"}}, {name: other, cluster: {server: "https://other:6443"}}]
            contexts: [{name: away, context: {cluster: other, user: u}}]
            """);
        var users = Write("users", """
            current-context: here
            clusters: [{name: c, cluster: {server: "https://second:6443"}}]
            contexts: [{name: here, context: {cluster: c, user: u, namespace: site}}]
            users: [{name: u, user: {tokenFile: token}}]
            """);
        var last = Write("last", "current-context: away\nusers: [{name: u, user: {token: unused}}]\n");
        var list = string.Join(Path.PathSeparator, Path.Combine(_directory.FullName, "missing"), clusters, "", users, last);

        var here = Kubeconfig.LoadList(list);
        Assert.Equal(("https://first:6443/", "site", (string?)null), (here.Server.AbsoluteUri, here.DefaultNamespace, here.Token));
        Assert.Equal(Path.Combine(Path.GetDirectoryName(users)!, "token"), here.TokenFile); // beside the file that names it
        Assert.Equal("https://other:6443/", Kubeconfig.LoadList(list, "away").Server.AbsoluteUri);
        Assert.Contains("there is no 'nowhere' under contexts; known: away, here", Assert.Throws<ConfigException>(() => Kubeconfig.LoadList(list, "nowhere")).Problems[0], StringComparison.Ordinal);
        Assert.Contains("there is no such kubeconfig", Assert.Throws<ConfigException>(() => Kubeconfig.LoadList("/none/a:/none/b")).Problems[0], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("a: [", "is not valid YAML")]
    [InlineData("contexts: [{name: x}]", "has no current-context; its contexts: x")]
    [InlineData("current-context: y\ncontexts: [{name: x}]", "there is no 'y' under contexts; known: x")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {}}]", "context 'x' has no cluster")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\nclusters: [{name: c, cluster: {}}]", "has no server")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: 'ftp://x'}}]", "must be an https URL")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: 'https://x', certificate-authority-data: '@'}}]", "certificate-authority-data is not base64")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: 'https://x', certificate-authority: none.pem}}]", "none.pem")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://x'}}]\nusers: [{name: u, user: {auth-provider: {name: gcp}}}]", "'auth-provider', which Kubernetes no longer has; use a client certificate, token, tokenFile or exec")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://x'}}]\nusers: [{name: u, user: {username: a, password: b}}]", "'username', which Kubernetes no longer has")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://x'}}]\nusers: [{name: u, user: {exec: x}}]", "exec of the user of context 'x' must be a mapping")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://x'}}]\nusers: [{name: u, user: {exec: {command: a}}}]", "has apiVersion '', must be client.authentication.k8s.io/v1 or")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://x'}}]\nusers: [{name: u, user: {exec: {command: a, apiVersion: client.authentication.k8s.io/v1alpha1}}}]", "v1alpha1 went with Kubernetes 1.24; make the entry anew")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://x'}}]\nusers: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1}}}]", "has no command")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://x'}}]\nusers: [{name: u, user: {exec: {command: a, apiVersion: client.authentication.k8s.io/v1}}}]", "has no interactiveMode")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://x'}}]\nusers: [{name: u, user: {exec: {command: a, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Always}}}]", "interactiveMode Always, and nobody sits before this program")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://x'}}]\nusers: [{name: u, user: {exec: {command: a, apiVersion: client.authentication.k8s.io/v1beta1, interactiveMode: Now}}}]", "interactiveMode 'Now', must be")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://x'}}]\nusers: [{name: u, user: {exec: {command: a, apiVersion: client.authentication.k8s.io/v1beta1, env: [{value: a}]}}}]", "env entry without a usable name")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://x'}}]\nusers: [{name: u, user: {exec: {command: a, apiVersion: client.authentication.k8s.io/v1beta1, provideClusterInfo: perhaps}}}]", "provideClusterInfo of the user of context 'x' is 'perhaps'")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://x'}}]", "there is no 'u' under users; known: none")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: 'https://x', insecure-skip-tls-verify: perhaps}}]", "insecure-skip-tls-verify is 'perhaps'")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://x'}}]\nusers: [{name: u, user: {as-groups: [a]}}]", "without 'as'")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://x'}}]\nusers: [{name: u, user: {as: j, as-groups: [a, b]}}]", "several values in as-groups")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://x'}}]\nusers: [{name: u, user: {as: j, as-user-extra: {a: [b, c]}}}]", "several values in as-user-extra")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://x'}}]\nusers: [{name: u, user: {client-certificate-data: eA==}}]", "must both be given")]
    [InlineData("current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://x'}}]\nusers: [{name: u, user: {client-certificate-data: eA==, client-key-data: eA==}}]", "cannot be used")]
    public void An_unfit_file_is_an_error_that_names_the_file_and_the_entry(string text, string said)
    {
        var error = Assert.Throws<ConfigException>(() => Kubeconfig.Parse("/tmp/the-config", text));
        Assert.Contains(said, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_context_that_the_file_has_not_is_named_with_those_it_has()
        => Assert.Contains(
            "/tmp/the-config: there is no 'z' under contexts; known: x, y",
            Assert.Throws<ConfigException>(() => Kubeconfig.Parse("/tmp/the-config", "current-context: x\ncontexts: [{name: x}, {name: y}]", "z")).Message, StringComparison.Ordinal);

    [Fact]
    public async Task Requests_are_made_as_whom_the_file_says_and_those_with_a_token_of_their_own_are_not()
    {
        var seen = new List<string>();
        await using var peer = await KubernetesPeer.StartAsync(context =>
        {
            lock (seen)
            {
                seen.Add(string.Join("; ", context.Request.Headers.Where(header => header.Key.StartsWith("Impersonate-", StringComparison.OrdinalIgnoreCase))
                    .OrderBy(header => header.Key, StringComparer.Ordinal).Select(header => $"{header.Key}={string.Join('|', header.Value.ToArray())}")));
            }

            return context.Response.WriteAsync("{}");
        });
        var options = Kubeconfig.Parse("/tmp/c", $$$"""
            current-context: x
            contexts: [{name: x, context: {cluster: c, user: u}}]
            clusters: [{name: c, cluster: {server: "{{{peer.Address}}}"}}]
            users: [{name: u, user: {token: a, as: jane, as-uid: "7", as-groups: [one], as-user-extra: {Reason/x: [because]} } }]
            """) with { CertificateAuthorityPem = peer.CaPem };
        using var client = new KubeClient(options, TimeProvider.System);
        await client.GetAsync(ResourceKind.Node, null, "n", CancellationToken.None);
        using var proxy = new KubeProxy(options, TimeProvider.System);
        (await proxy.SendAsync(HttpMethod.Get, "/api/v1/nodes", "", "", default, "somebody", CancellationToken.None)).Dispose();
        Assert.Equal(["Impersonate-Extra-Reason%2Fx=because; Impersonate-Group=one; Impersonate-Uid=7; Impersonate-User=jane", ""], seen, StringComparer.OrdinalIgnoreCase);
    }

    [Fact]
    public void A_missing_file_is_named()
        => Assert.Contains("/nowhere/config: there is no such kubeconfig", Assert.Throws<ConfigException>(() => Kubeconfig.Load("/nowhere/config")).Message, StringComparison.Ordinal);
}

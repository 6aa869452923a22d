using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.ApiServer.Tests.Rest;

[Trait("Category", "Kubernetes")]
public sealed class AccessTests(ApiFixture api) : IClassFixture<ApiFixture>
{
    [Fact]
    public async Task Without_credentials_only_health_and_version_answer()
    {
        using var client = api.NewClient();
        foreach (var path in (string[])["/healthz", "/livez", "/readyz", "/version"])
            Assert.Equal(HttpStatusCode.OK, await CodeAsync(client, path));
        foreach (var path in (string[])["/api", "/api/v1/nodes", "/openapi/v2", "/"])
            Assert.Equal(HttpStatusCode.Unauthorized, await CodeAsync(client, path));
        client.DefaultRequestHeaders.Authorization = new("Bearer", "wrong");
        Assert.Equal(HttpStatusCode.Unauthorized, await CodeAsync(client, "/api"));
    }

    [Fact]
    public async Task The_administrators_certificate_is_let_in_and_a_foreign_one_of_the_same_name_is_not()
    {
        using var admin = X509Certificate2.CreateFromPemFile(Path.Combine(api.Directory, "pki", "admin.crt"), Path.Combine(api.Directory, "pki", "admin.key"));
        using var client = api.NewClient(admin);
        Assert.Equal(HttpStatusCode.OK, await CodeAsync(client, "/api/v1/nodes"));

        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var foreign = new CertificateRequest(admin.SubjectName, key, HashAlgorithmName.SHA256).CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        using var stranger = api.NewClient(foreign);
        Assert.Equal(HttpStatusCode.Unauthorized, await CodeAsync(stranger, "/api/v1/nodes"));
    }

    [Fact]
    public void Keys_tokens_and_the_kubeconfig_are_for_their_owner_alone()
    {
        const UnixFileMode owner = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        foreach (var file in (string[])["admin.kubeconfig", "admin.token", "apiserver.db", "pki/ca.key", "pki/apiserver.key", "pki/admin.key", "pki/sa.key"])
            Assert.Equal(owner, File.GetUnixFileMode(Path.Combine(api.Directory, file)));
    }

    [Fact]
    public async Task A_port_in_use_is_said_with_the_setting_to_change()
    {
        var directory = Directory.CreateTempSubdirectory("edge-port-").FullName;
        try
        {
            var error = await Assert.ThrowsAsync<ApiServerException>(() => EmbeddedApiServer.StartAsync(
                new ApiServerOptions { DataDirectory = directory, Port = api.Server.Port }, TimeProvider.System, NullLoggerFactory.Instance, default));
            Assert.Equal($"127.0.0.1:{api.Server.Port} is in use by another process; choose another with modules.apiServer.port", error.Message);
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    [Fact]
    public async Task A_restart_keeps_objects_certificates_and_tokens()
    {
        var own = new ApiFixture();
        await own.StartAsync(TimeProvider.System);
        try
        {
            var made = await own.PostAsync("/api/v1/namespaces/default/configmaps", """{"metadata":{"name":"kept"}}""");
            var (authority, token) = (await File.ReadAllTextAsync(Path.Combine(own.Directory, "pki", "ca.crt")), await File.ReadAllTextAsync(Path.Combine(own.Directory, "admin.token")));
            await own.StartAsync(TimeProvider.System);
            Assert.Equal(made.Uid(), (await own.GetAsync("/api/v1/namespaces/default/configmaps/kept")).Uid());
            Assert.Equal(authority, await File.ReadAllTextAsync(Path.Combine(own.Directory, "pki", "ca.crt")));
            Assert.Equal(token, await File.ReadAllTextAsync(Path.Combine(own.Directory, "admin.token")));
        }
        finally
        {
            await own.DisposeAsync();
        }
    }

    private static async Task<HttpStatusCode> CodeAsync(HttpClient client, string path)
    {
        using var response = await client.GetAsync(new Uri(path, UriKind.Relative));
        return response.StatusCode;
    }
}

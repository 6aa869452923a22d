using System.Globalization;
using System.Net;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Testing;
using Microsoft.AspNetCore.Http;

namespace Edge.Kubernetes.Tests;

/// <summary>users[].user.exec: programs that give the credentials, as cloud providers have them.</summary>
[Trait("Category", "Kubernetes")]
public sealed class ExecCredentialTests : IDisposable
{
    private static readonly CancellationToken s_none = CancellationToken.None;
    private static readonly DateTimeOffset s_now = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);

    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("edge-exec-");

    public void Dispose() => _directory.Delete(recursive: true);

    [Theory]
    [InlineData("", "is not JSON")]
    [InlineData("secret", "is not JSON")]
    [InlineData("[]", "is not an ExecCredential")]
    [InlineData("""{"kind":"Pod"}""", "is not an ExecCredential")]
    [InlineData("""{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","status":{"token":"secret"}}""", "answered in apiVersion 'client.authentication.k8s.io/v1beta1'")]
    [InlineData("""{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1"}""", "has no status")]
    [InlineData("""{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{}}""", "neither token nor clientCertificateData")]
    [InlineData("""{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"secret\n"}}""", "characters that no header can have")]
    [InlineData("""{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"secret","expirationTimestamp":"soon"}}""", "not an RFC 3339 time")]
    [InlineData("""{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"clientKeyData":"secret"}}""", "without the other")]
    [InlineData("""{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"clientCertificateData":"a","clientKeyData":"secret"}}""", "cannot be used")]
    public void An_output_that_is_no_credential_says_why_and_never_what_stood_there(string output, string said)
    {
        Assert.Null(ExecCredential.TryRead(Encoding.UTF8.GetBytes(output), ExecCredential.V1, out var problem));
        Assert.Contains(said, problem, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", problem, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(null, null)]
    [InlineData(3600, 3590)]
    [InlineData(20, 18)]
    [InlineData(-5, -5)]
    public void A_credential_is_used_until_a_little_before_it_expires(int? expiresIn, int? usedFor)
        => Assert.Equal(
            usedFor is { } seconds ? s_now.AddSeconds(seconds) : DateTimeOffset.MaxValue,
            new ExecCredential("a", null, expiresIn is { } life ? s_now.AddSeconds(life) : null).UsedUntil(s_now));

    [Fact]
    public void The_program_is_told_what_is_asked_and_of_the_cluster_only_where_the_file_says_so()
    {
        var file = """
            current-context: x
            contexts: [{name: x, context: {cluster: c, user: u}}]
            clusters:
            - name: c
              cluster:
                server: https://kube.example:6443
                tls-server-name: inner
                extensions: [{name: client.authentication.k8s.io/exec, extension: {audience: one, deep: {number: 7}}}]
            users: [{name: u, user: {exec: {command: ./bin/login, args: [a, "1"], env: [{name: A, value: b}], apiVersion: client.authentication.k8s.io/v1beta1, installHint: get it, provideClusterInfo: true}}}]
            """;
        var plugin = Kubeconfig.Parse("/etc/kube/config", file).Exec!;
        Assert.Equal(("/etc/kube/bin/login", "get it"), (plugin.Command, plugin.InstallHint));
        Assert.Equal(["a", "1"], plugin.Arguments);
        Assert.Equal([KeyValuePair.Create("A", "b")], plugin.Environment);
        Assert.Equal(
            """{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","spec":{"interactive":false,"cluster":{"server":"https://kube.example:6443","tls-server-name":"inner","config":{"audience":"one","deep":{"number":7}}}}}""",
            ExecCredential.Info(plugin));

        var without = Kubeconfig.Parse("/etc/kube/config", file.Replace(", provideClusterInfo: true", "", StringComparison.Ordinal).Replace("./bin/login", "login", StringComparison.Ordinal)).Exec!;
        Assert.Equal("login", without.Command);
        Assert.Equal("""{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","spec":{"interactive":false}}""", ExecCredential.Info(without));
    }

    [Fact]
    public async Task One_run_serves_all_until_the_token_is_about_to_expire()
    {
        await using var peer = await KubernetesPeer.StartAsync(context => context.Response.WriteAsync(Told(context)));
        var time = new ManualTimeProvider(s_now);
        // The program counts its runs, and tells what it was given.
        var script = Script($$$"""
            echo run >> "$PWD_OF_TEST/runs"
            printf %s "$KUBERNETES_EXEC_INFO" > "$PWD_OF_TEST/info"
            read line && exit 9
            n=$(wc -l < "$PWD_OF_TEST/runs")
            echo '{"kind":"ExecCredential","apiVersion":"{{{ExecCredential.V1}}}","status":{"token":"'"$1-$n"'","expirationTimestamp":"2030-01-01T00:0'"$n"':00Z"}}'
            """);
        using var client = new KubeClient(Load(peer, script, "args: [token]"), time);
        var first = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => WhoAsync(client)));
        Assert.All(first, who => Assert.Equal("Bearer token-1", who));
        Assert.Contains("\"interactive\":false", await File.ReadAllTextAsync(Path.Combine(_directory.FullName, "info")), StringComparison.Ordinal);
        time.Advance(TimeSpan.FromSeconds(53));
        Assert.Equal("Bearer token-1", await WhoAsync(client));
        time.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal("Bearer token-2", await WhoAsync(client));
        Assert.Equal(2, Runs());
    }

    [Fact]
    public async Task A_token_that_the_API_refuses_has_the_program_run_again_once()
    {
        await using var peer = await KubernetesPeer.StartAsync(context =>
        {
            context.Response.StatusCode = context.Request.Headers.Authorization == "Bearer t-2" ? 200 : 401;
            return context.Response.WriteAsync(Told(context));
        });
        var script = Script($$$"""
            echo run >> "$PWD_OF_TEST/runs"
            n=$(wc -l < "$PWD_OF_TEST/runs")
            echo '{"kind":"ExecCredential","apiVersion":"{{{ExecCredential.V1}}}","status":{"token":"'"t-$n"'"}}'
            """);
        using var client = new KubeClient(Load(peer, script), TimeProvider.System);
        await client.CreateAsync(ResourceKind.Node, null, new JsonObject { ["metadata"] = new JsonObject { ["name"] = "n" } }, s_none);
        Assert.Equal("Bearer t-2", await WhoAsync(client));
        Assert.Equal(2, Runs());

        // Refused for good: one more run, then the API's 401.
        using var other = new KubeClient(Load(peer, script), TimeProvider.System);
        Assert.Equal(401, (await Assert.ThrowsAsync<KubeException>(() => WhoAsync(other))).Code);
        Assert.Equal(4, Runs());
    }

    [Fact]
    public async Task A_client_certificate_of_the_program_is_shown_and_the_next_one_on_new_connections()
    {
        await using var peer = await KubernetesPeer.StartAsync(context => context.Response.WriteAsync(Told(context)), asksCertificate: true);
        var time = new ManualTimeProvider(s_now);
        foreach (var number in (int[])[1, 2])
        {
            using var certificate = KubernetesPeer.SelfSigned($"user-{number}");
            await File.WriteAllTextAsync(Path.Combine(_directory.FullName, $"{number}.json"), new JsonObject
            {
                ["kind"] = "ExecCredential",
                ["apiVersion"] = ExecCredential.V1,
                ["status"] = new JsonObject
                {
                    ["clientCertificateData"] = certificate.ExportCertificatePem(),
                    ["clientKeyData"] = certificate.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem(),
                    ["expirationTimestamp"] = s_now.AddMinutes(number).ToString("yyyy-MM-ddTHH:mm:ssZ", CultureInfo.InvariantCulture),
                },
            }.ToJsonString());
        }

        using var client = new KubeClient(Load(peer, Script("""
            echo run >> "$PWD_OF_TEST/runs"
            cat "$PWD_OF_TEST/$(($(wc -l < "$PWD_OF_TEST/runs"))).json"
            """)), time);
        Assert.Equal("CN=user-1", await WhoAsync(client));
        time.Advance(TimeSpan.FromSeconds(58));
        Assert.Equal("CN=user-2", await WhoAsync(client));
        Assert.Equal(2, Runs());
    }

    [Theory]
    [InlineData("echo secret; echo 'first' >&2; echo 'log in first' >&2; exit 3", "ended with exit code 3: log in first")]
    [InlineData("echo secret", "its output is not JSON")]
    [InlineData("sleep 60", "did not end within 0.5 s and was killed")]
    [InlineData("head -c 2000000 /dev/zero", "wrote more than 1048576 bytes")]
    public async Task A_program_that_fails_is_named_with_its_own_words(string body, string said)
    {
        await using var peer = await KubernetesPeer.StartAsync(context => context.Response.WriteAsync(Told(context)));
        var script = Script(body);
        var options = Load(peer, script);
        using var client = new KubeClient(options with { Exec = options.Exec! with { TimeLimit = TimeSpan.FromSeconds(body.StartsWith("sleep", StringComparison.Ordinal) ? 0.5 : 30) } }, TimeProvider.System);
        var error = await Assert.ThrowsAsync<KubeException>(() => WhoAsync(client));
        Assert.Equal((0, "Unauthorized"), (error.Code, error.Reason));
        Assert.Contains($"the credential plugin '{script}' of the kubeconfig {said}", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("edge-no-such-program", "is not on PATH; apt install it")]
    [InlineData("./nowhere", "cannot be started")]
    public async Task A_program_that_is_not_there_is_said_with_the_hint_of_the_file(string command, string said)
    {
        await using var peer = await KubernetesPeer.StartAsync(context => context.Response.WriteAsync(Told(context)));
        using var client = new KubeClient(Load(peer, command, "installHint: apt install it"), TimeProvider.System);
        var error = await Assert.ThrowsAsync<KubeException>(() => WhoAsync(client));
        Assert.Contains(said, error.Message, StringComparison.Ordinal);
        Assert.EndsWith("; apt install it", error.Message, StringComparison.Ordinal);
    }

    // The answer's annotation tells as whom the request came.
    private static string Told(HttpContext context)
        => new JsonObject { ["metadata"] = new JsonObject { ["annotations"] = new JsonObject { ["who"] = context.Connection.ClientCertificate?.Subject + context.Request.Headers.Authorization } } }.ToJsonString();

    private static async Task<string> WhoAsync(KubeClient client)
        => (await client.GetAsync(ResourceKind.Node, null, "n", s_none)).Text("metadata", "annotations", "who");

    private int Runs() => File.ReadAllLines(Path.Combine(_directory.FullName, "runs")).Length;

    private string Script(string body)
    {
        var file = Path.Combine(_directory.FullName, "login.sh");
        File.WriteAllText(file, $"#!/bin/sh\n{body}\n");
        File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return file;
    }

    private KubeClientOptions Load(KubernetesPeer peer, string command, string more = "args: []")
    {
        var path = Path.Combine(_directory.FullName, "config");
        File.WriteAllText(path, $$$"""
            current-context: x
            contexts: [{name: x, context: {cluster: c, user: u}}]
            clusters: [{name: c, cluster: {server: "{{{peer.Address}}}", certificate-authority-data: {{{Convert.ToBase64String(Encoding.UTF8.GetBytes(peer.CaPem))}}}}}]
            users:
            - name: u
              user:
                exec:
                  apiVersion: {{{ExecCredential.V1}}}
                  interactiveMode: IfAvailable
                  command: {{{command}}}
                  env: [{name: PWD_OF_TEST, value: "{{{_directory.FullName}}}"}]
                  {{{more}}}
            """);
        return Kubeconfig.Load(path);
    }
}

using System.Text.Json.Nodes;
using Edge.ApiServer.Audit;
using Edge.ApiServer.Tests.Rest;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.ApiServer.Tests.Audit;

[Trait("Category", "Kubernetes")]
public sealed class AuditLogTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("edge-audit-").FullName;

    private string Log => Path.Combine(_directory, "audit.log");

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public async Task Requests_are_told_with_who_what_and_the_answer_and_no_secrets_data()
    {
        var api = new ApiFixture();
        await api.StartAsync(TimeProvider.System, auditLog: Log);
        try
        {
            await api.PostAsync("/api/v1/namespaces/default/secrets", """{"metadata":{"name":"s"},"stringData":{"k":"hidden-value"}}""");
            using (var request = new HttpRequestMessage(HttpMethod.Get, "/api/v1/namespaces/default/secrets/s"))
            {
                request.Headers.Add("Impersonate-User", "jane");
                using var response = await api.Client.SendAsync(request);
                Assert.Equal(System.Net.HttpStatusCode.Forbidden, response.StatusCode);
            }

            using (var stranger = api.NewClient())
            using (await stranger.GetAsync(new Uri("/api/v1/nodes", UriKind.Relative)))
            using (await stranger.GetAsync(new Uri("/healthz", UriKind.Relative)))
            {
                // refused, and not told of
            }

            using (await api.WatchAsync("/api/v1/namespaces/default/pods?watch=true&timeoutSeconds=1"))
                await WaitAsync(() => Lines().Exists(line => line.Text("stage") == "ResponseStarted"));
            await WaitAsync(() => Lines().Count >= 5);
        }
        finally
        {
            await api.DisposeAsync();
        }

        var lines = Lines();
        var created = lines.Single(line => line.Text("verb") == "create");
        Assert.Equal(("audit.k8s.io/v1", "Metadata", "ResponseComplete", 201L), (created.ApiVersion(), created.Text("level"), created.Text("stage"), created.Number(0, "responseStatus", "code")));
        Assert.Equal(("admin", "secrets", "default"), (created.Text("user", "username"), created.Text("objectRef", "resource"), created.Text("objectRef", "namespace")));
        Assert.Equal("allow", created.Text("annotations", "authorization.k8s.io/decision"));
        var refused = lines.Single(line => line.Text("impersonatedUser", "username") == "jane");
        Assert.Equal(("get", 403L, "forbid"), (refused.Text("verb"), refused.Number(0, "responseStatus", "code"), refused.Text("annotations", "authorization.k8s.io/decision")));
        Assert.Contains(lines, line => line.Number(0, "responseStatus", "code") == 401 && line.Text("requestURI") == "/api/v1/nodes");
        Assert.Equal(["ResponseStarted", "ResponseComplete"], lines.Where(line => line.Text("verb") == "watch").Select(line => line.Text("stage")));
        Assert.DoesNotContain(lines, line => line.Text("requestURI") == "/healthz");
        var text = await File.ReadAllTextAsync(Log);
        Assert.DoesNotContain("hidden-value", text, StringComparison.Ordinal);
        Assert.DoesNotContain(Convert.ToBase64String("hidden-value"u8), text, StringComparison.Ordinal);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Log));
    }

    [Fact]
    public async Task A_full_file_is_renamed_the_oldest_go_and_no_line_is_lost_or_cut()
    {
        const int Lines = 400;
        await using (var log = new AuditLog(Log, bytesMax: 2000, backupsMax: 3, TimeProvider.System, NullLogger.Instance))
        {
            for (var i = 0; i < Lines; i++)
                log.Write(new JsonObject { ["n"] = i, ["fill"] = new string('x', 80) });
        }

        var files = Directory.GetFiles(_directory).Order(StringComparer.Ordinal).ToList();
        Assert.Equal(4, files.Count);
        Assert.All(files, file => Assert.InRange(new FileInfo(file).Length, 1, 2000));
        var kept = files.Where(file => file != Log).Append(Log).SelectMany(File.ReadAllLines).Select(line => (int)JsonNode.Parse(line)!["n"]!).ToList();
        Assert.Equal(Enumerable.Range(Lines - kept.Count, kept.Count), kept);
    }

    [Fact]
    public async Task A_log_that_falls_behind_drops_lines_counts_them_and_stops_nobody()
    {
        var log = new AuditLog(Log, bytesMax: 1L << 30, backupsMax: 1, TimeProvider.System, NullLogger.Instance);
        const int Sent = 20 * AuditLog.QueueCapacity;
        for (var i = 0; i < Sent; i++)
            log.Write(new JsonObject { ["n"] = i });
        await log.DisposeAsync();
        Assert.Equal(Sent, log.Dropped + log.Written);
        Assert.Equal(log.Written, File.ReadLines(Log).LongCount());
    }

    [Fact]
    public void A_path_that_cannot_be_written_stops_the_start_with_the_key()
    {
        File.WriteAllText(Path.Combine(_directory, "file"), "");
        var error = Assert.Throws<ApiServerException>(() => new AuditLog(Path.Combine(_directory, "file", "audit.log"), 1000, 1, TimeProvider.System, NullLogger.Instance));
        Assert.Contains("modules.apiServer.auditLogPath", error.Message, StringComparison.Ordinal);
    }

    private List<JsonObject> Lines()
    {
        using var reader = new StreamReader(new FileStream(Log, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete));
        return [.. reader.ReadToEnd().Split('\n')[..^1].Select(line => JsonNode.Parse(line)!.AsObject())];
    }

    private static async Task WaitAsync(Func<bool> condition)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        while (!condition())
            await Task.Delay(20, deadline.Token);
    }
}

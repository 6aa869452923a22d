using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Local.Processes;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests;

/// <summary><c>edgectl token</c> and <c>edgectl ca</c> against a whole Edge of real processes.</summary>
[Trait("Category", "Interop")]
[Collection(nameof(EdgeCollection))]
public sealed class IdentityTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task Token_is_made_listed_used_by_its_node_alone_and_revoked()
    {
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions());
        var made = await EdgectlAsync(edge, "token", "create", "--node", "press-3", "--ttl", "2h", "--description", "hall north");
        Assert.Equal(0, made.ExitCode);
        var token = made.Output.Trim();
        Assert.Equal(4, token.Split('.').Length);
        var id = JsonNode.Parse((await EdgectlAsync(edge, "token", "list", "-o", "json")).Output).Items("items").Single().Text("id");
        Assert.Equal($"token {id} is for node press-3 and good until ", made.Error[..$"token {id} is for node press-3 and good until ".Length]);
        var table = (await EdgectlAsync(edge, "token", "list")).Output.Split('\n');
        Assert.Matches("^ID +NODE +EXPIRES +LEFT +DESCRIPTION$", table[0]);
        Assert.Matches($"^{id} +press-3 +20[-0-9T:]+Z +1h59m +hall north$", table[1]);

        // Another node is told what is wrong; the right one joins.
        await using (var wrong = Join(edge, "press-4", token))
        {
            await WaitForLogAsync(wrong.Process, "the token is for node 'press-3', this is node 'press-4'");
        }

        await using (var right = Join(edge, "press-3", token))
        {
            await edge.WaitForAsync("press-3 has joined", async () => await edge.Client.TryGetAsync(ResourceKind.Node, null, "press-3", CancellationToken.None) is not null);
            Assert.DoesNotContain(token.Split('.')[3], await File.ReadAllTextAsync(right.Process.LogPath), StringComparison.Ordinal);
        }

        var revoked = await EdgectlAsync(edge, "token", "revoke", id);
        Assert.Equal((0, $"token {id} revoked\n", ""), (revoked.ExitCode, revoked.Output, revoked.Error));
        Directory.Delete(_directory.File("press-3"), recursive: true);
        await using (var late = Join(edge, "press-3", token))
        {
            await WaitForLogAsync(late.Process, $"the token {id} was revoked");
        }

        var again = await EdgectlAsync(edge, "token", "revoke", id);
        Assert.Equal((1, $"edgectl token revoke: there is no token '{id}'; 'edgectl token list' has those there are\n"), (again.ExitCode, again.Error));
        foreach (var log in Directory.EnumerateFiles(edge.Local.LogsDirectory))
            Assert.DoesNotContain(token.Split('.')[3], await File.ReadAllTextAsync(log), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--node", "Press_3", "--node 'Press_3' must be a node's name")]
    [InlineData("--ttl", "soon", "--ttl 'soon' must be a time from 1m to 3650d, e.g. 30m, 24h or 7d")]
    [InlineData("--ttl", "30s", "--ttl '30s' must be a time from 1m to 3650d")]
    [InlineData("--description", "a\nb", "--description must be one line of at most 256 characters")]
    public async Task A_wrong_option_is_named_with_what_it_must_be(string option, string value, string message)
    {
        var said = await Tool.TryRunAsync(Executables.Find("edgectl"), ["token", "create", option, value], new ToolOptions(TimeProvider.System), CancellationToken.None);
        Assert.Equal((1, ""), (said.ExitCode, said.Output));
        Assert.StartsWith($"edgectl token create: {message}", said.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task CA_is_rolled_over_while_nodes_stay_and_the_old_one_dropped_when_they_have_renewed()
    {
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions());
        var before = Assert.Single(await AuthoritiesAsync(edge));
        var oldToken = (await EdgectlAsync(edge, "gettoken")).Output.Trim();

        var rolled = await EdgectlAsync(edge, "ca", "rollover");
        Assert.Equal((0, ""), (rolled.ExitCode, rolled.Error));
        var now = await AuthoritiesAsync(edge);
        Assert.Equal(["active", "former"], now.Select(one => one.Text("role")));
        Assert.Equal(before.Text("id"), now[1].Text("id"));
        Assert.Contains($"the CA {now[0].Text("id")} issues from now on", rolled.Output, StringComparison.Ordinal);
        Assert.Equal(1, (await EdgectlAsync(edge, "ca", "rollover")).ExitCode);

        // cloudcore has not been restarted: it serves the new CA, and tokens name it.
        await edge.WaitForAsync("cloudcore serves the new CA", async () => await ServedAuthorityAsync(edge) == now[0].Text("sha256"));
        var token = (await EdgectlAsync(edge, "gettoken")).Output.Trim();
        Assert.StartsWith(now[0].Text("sha256"), token, StringComparison.Ordinal);
        var table = (await EdgectlAsync(edge, "ca", "list")).Output.Split('\n');
        Assert.Matches("^ID +ROLE +SINCE +EXPIRES +SUBJECT$", table[0]);
        Assert.Matches($"^{before.Text("id")} +former, trusted +", table[2]);

        // The token of before is explained; a node with the new one joins; the node from before comes back with its certificate.
        await using (var old = Join(edge, "press-3", oldToken))
        {
            await WaitForLogAsync(old.Process, "from before a rollover of its CA");
        }

        await using var fresh = Join(edge, "press-4", token);
        await edge.WaitForAsync("press-4 has joined", async () => await edge.Client.TryGetAsync(ResourceKind.Node, null, "press-4", CancellationToken.None) is not null);
        await edge.Local.KillAndRestartEdgeCoreAsync(edge.Local.Nodes[0]);
        await edge.WaitForAsync("edge-1 is ready", () => edge.Local.IsNodeReadyAsync("edge-1", CancellationToken.None));

        var asked = await EdgectlAsync(edge, "ca", "drop-old");
        Assert.Equal(1, asked.ExitCode);
        Assert.Contains("nothing was changed", asked.Error, StringComparison.Ordinal);
        var dropped = await EdgectlAsync(edge, "ca", "drop-old", "--yes");
        Assert.Equal((0, ""), (dropped.ExitCode, dropped.Error));
        Assert.Equal("active", Assert.Single(await AuthoritiesAsync(edge)).Text("role"));
        Assert.Contains("there is no former CA", (await EdgectlAsync(edge, "ca", "drop-old", "--yes")).Error, StringComparison.Ordinal);
    }

    private static Task<ToolResult> EdgectlAsync(TestEdge edge, params string[] arguments)
        => Tool.TryRunAsync(Executables.Find("edgectl"), [.. arguments, "--kubeconfig", edge.Local.Kubeconfig], new ToolOptions(TimeProvider.System), CancellationToken.None);

    private static async Task<List<JsonObject>> AuthoritiesAsync(TestEdge edge)
        => [.. JsonNode.Parse((await EdgectlAsync(edge, "ca", "list", "-o", "json")).Output).Items("items")];

    private static async Task<string> ServedAuthorityAsync(TestEdge edge)
    {
        using var handler = new SocketsHttpHandler { SslOptions = { RemoteCertificateValidationCallback = (_, server, _, _) => server is not null } };
        using var http = new HttpClient(handler);
        return Convert.ToHexStringLower(SHA256.HashData(await http.GetByteArrayAsync(new Uri($"https://127.0.0.1:{edge.Local.Ports.Https}/ca.crt"))));
    }

    // An edgecore beside those of the test's Edge.
    private JoinedNode Join(TestEdge edge, string node, string token)
    {
        var directory = Directory.CreateDirectory(_directory.File(node)).FullName;
        var config = Path.Combine(directory, "edgecore.yaml");
        File.WriteAllText(config, "kind: EdgeCore\n");
        return new JoinedNode(ChildProcess.Start(
            "edgecore", directory, Executables.Find("edgecore"),
            [
                "--config", config, "--data-dir", directory, "--set", $"modules.edgeHub.token={token}", "--set", $"modules.edgeHub.httpServer=https://127.0.0.1:{edge.Local.Ports.Https}",
                "--set", $"modules.edgeHub.websocket.server=127.0.0.1:{edge.Local.Ports.WebSocket}", "--set", $"modules.edged.hostnameOverride={node}",
                "--set", "modules.edged.enable=false", "--set", "commonConfig.monitorServer.bindAddress=127.0.0.1:0",
            ],
            TimeProvider.System));
    }

    // Stopped also when the test fails.
    private sealed class JoinedNode(ChildProcess process) : IAsyncDisposable
    {
        public ChildProcess Process { get; } = process;

        public async ValueTask DisposeAsync()
        {
            await Process.StopAsync(TimeSpan.FromSeconds(20));
            Process.Dispose();
        }
    }

    private static Task WaitForLogAsync(ChildProcess process, string text)
        => Edge.Local.Wait.UntilAsync(
            $"'{text}' in {process.LogPath}", _ => Task.FromResult(File.Exists(process.LogPath) && File.ReadAllText(process.LogPath).Contains(text, StringComparison.Ordinal)),
            TimeSpan.FromSeconds(30), TimeProvider.System, CancellationToken.None);
}

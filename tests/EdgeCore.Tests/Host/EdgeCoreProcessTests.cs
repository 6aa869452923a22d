using System.Collections.Concurrent;
using System.Diagnostics;
using Edge.Core.MetaManager;
using Edge.Protocol.Messages;
using Xunit;

namespace Edge.Core.Tests;

[Trait("Category", "Chaos")]
public sealed class EdgeCoreProcessTests
{
    [Fact]
    public async Task A_config_error_ends_edgecore_with_1_and_names_key_and_line_on_stderr()
    {
        using var directory = new TempDirectory();
        await File.WriteAllTextAsync(directory.File("edgecore.yaml"), "kind: EdgeCore\nmodules:\n  edgeHub:\n    tokn: x\n");
        using var process = new EdgeProcess(directory);
        Assert.Equal(1, await process.ExitAsync());
        Assert.Contains("edgecore.yaml:4: modules.edgeHub.tokn", process.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task SIGTERM_ends_edgecore_with_0_within_five_seconds_after_it_said_that_it_is_ready()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud();
        await cloud.StartAsync();
        await WriteConfigAsync(directory, cloud);
        using var process = new EdgeProcess(directory);
        await HubServiceTests.WaitUntilAsync(() => process.Output.Contains($"edgecore is ready: node edge-node connected to 127.0.0.1:{cloud.Port}", StringComparison.Ordinal));
        var watch = Stopwatch.StartNew();
        using (var kill = Process.Start("kill", $"-TERM {process.Id}"))
            await kill.WaitForExitAsync();
        Assert.Equal(0, await process.ExitAsync());
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(6), $"took {watch.Elapsed}");
    }

    [Fact]
    public async Task Kill_9_in_the_middle_of_a_stream_of_objects_loses_none_that_was_acknowledged()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud();
        var sent = new ConcurrentDictionary<string, string>();
        var acked = new ConcurrentBag<string>();
        cloud.Answer = message =>
        {
            if (message.Operation == Operations.Response && sent.TryGetValue(message.ParentId, out var name))
                acked.Add(name);
            return cloud.DefaultAnswer(message);
        };
        await cloud.StartAsync();
        await WriteConfigAsync(directory, cloud);
        using (var process = new EdgeProcess(directory))
        {
            await cloud.NextAsync(message => message.Operation == Operations.Keepalive, "keepalive");
            var sending = Task.Run(async () =>
            {
                try
                {
                    for (var i = 0; i < 2000; i++)
                    {
                        var down = FakeCloud.Down(Operations.Insert, $"default/configmap/c{i}", $$$"""{"metadata":{"name":"c{{{i}}}","uid":"u{{{i}}}"},"data":{"k":"{{{new string('x', 500)}}}"}}""", "1");
                        sent[down.Id] = $"c{i}";
                        await cloud.SendAsync(down);
                    }
                }
                catch (Exception e) when (e is IOException or Edge.Transport.LinkException or InvalidOperationException or ObjectDisposedException or OperationCanceledException)
                {
                    // the edge was killed: what the test is about
                }
            });
            await HubServiceTests.WaitUntilAsync(() => acked.Count > 100);
            process.Kill();
            await process.ExitAsync();
            cloud.Cut();
            await sending;
        }

        await using var database = EdgeDatabase.Open(directory.File("edgecore.db"), TimeProvider.System);
        var table = new MetaTable(database);
        Assert.Null(database.CorruptBackup);
        Assert.NotEmpty(acked);
        Assert.All(acked, name => Assert.NotNull(table.Get($"default/configmap/{name}")));
    }

    private static Task WriteConfigAsync(TempDirectory directory, FakeCloud cloud) => File.WriteAllTextAsync(directory.File("edgecore.yaml"), $"""
        kind: EdgeCore
        commonConfig:
          monitorServer: [bindAddress]
        modules:
          edgeHub:
            httpServer: https://127.0.0.1:{cloud.Port}
            token: {cloud.Token}
            websocket:
              server: 127.0.0.1:{cloud.Port}
          edged:
            enable: false
            hostnameOverride: edge-node
        """.Replace("[bindAddress]", "{ bindAddress: '127.0.0.1:0' }", StringComparison.Ordinal));
}

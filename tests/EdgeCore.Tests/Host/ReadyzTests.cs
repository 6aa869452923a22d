using System.Net;
using Edge.Testing;
using Xunit;

namespace Edge.Core.Tests;

/// <summary>What /readyz of edgecore says.</summary>
[Trait("Category", "Sync")]
public sealed class ReadyzTests
{
    [Fact]
    public void Module_that_stopped_counts_as_failed_until_it_has_run_steadily()
    {
        var time = new ManualTimeProvider(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));
        var health = new ModuleHealth(time);
        health.Started("devicetwin");
        Assert.Null(health.Problem());
        health.Failed("devicetwin", "the socket is taken");
        time.Advance(TimeSpan.FromHours(1));
        Assert.Equal("module devicetwin has stopped: the socket is taken", health.Problem());
        health.Started("devicetwin");
        time.Advance(ModuleHealth.SteadyAfter - TimeSpan.FromSeconds(1));
        Assert.Equal("module devicetwin was started again: the socket is taken", health.Problem());
        health.Failed("devicetwin", "again");
        health.Started("devicetwin");
        time.Advance(ModuleHealth.SteadyAfter);
        Assert.Null(health.Problem());
    }

    [Fact]
    public async Task Without_the_cloud_an_edge_is_ready_and_without_its_runtime_it_is_not()
    {
        using var directory = new TempDirectory();
        var cloud = new FakeCloud();
        await cloud.StartAsync();
        string[] monitor = ["commonConfig.monitorServer.enable=true", "commonConfig.monitorServer.bindAddress=127.0.0.1:0"];
        var plain = RunningEdge.Options(cloud, directory, monitor);
        var withPods = RunningEdge.Options(
            cloud, directory, [.. monitor, "modules.edged.enable=true", $"modules.edged.tailoredKubeletConfig.containerRuntimeEndpoint=unix://{directory.File("none.sock")}"]);
        await cloud.DisposeAsync(); // nobody is there
        await using (var alone = new RunningEdge(plain))
        {
            await HubServiceTests.WaitUntilAsync(() => alone.Host.MetricsPort > 0);
            Assert.Equal((HttpStatusCode.OK, "[+]store ok\n[+]modules ok\n"), await AskAsync(alone.Host.MetricsPort, "/readyz?verbose"));
        }

        await using var edge = new RunningEdge(withPods);
        await HubServiceTests.WaitUntilAsync(() => edge.Host.MetricsPort > 0);
        var (code, text) = await AskAsync(edge.Host.MetricsPort, "/readyz");
        Assert.Equal(HttpStatusCode.ServiceUnavailable, code);
        Assert.StartsWith("[-]runtime: container runtime is down", text, StringComparison.Ordinal);
        Assert.Contains("none.sock", text, StringComparison.Ordinal);
        Assert.Equal((HttpStatusCode.OK, "ok\n"), await AskAsync(edge.Host.MetricsPort, "/healthz"));
    }

    private static async Task<(HttpStatusCode Code, string Text)> AskAsync(int port, string path)
    {
        using var http = new HttpClient();
        using var answer = await http.GetAsync($"http://127.0.0.1:{port}{path}");
        return (answer.StatusCode, await answer.Content.ReadAsStringAsync());
    }
}

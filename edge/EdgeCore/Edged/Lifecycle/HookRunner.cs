using System.Text.Json.Nodes;
using Edge.Core.Edged.Probes;
using Edge.Kubernetes;
using Edge.Protocol.Grpc;

namespace Edge.Core.Edged.Lifecycle;

/// <summary>Runs the handler of a lifecycle hook (v1.LifecycleHandler) to its end. Hooks have no time limit of their own: who runs one cancels it.</summary>
internal sealed class HookRunner(PodContext context, ReportEvent report)
{
    /// <summary>Null when the hook succeeded, else why not, for the log: an event does not tell, as a kubelet's does not, and what a command wrote is in neither.</summary>
    /// <param name="podIp">Where an httpGet without a host goes.</param>
    public async Task<string?> RunAsync(ContainerDescription container, string containerId, JsonNode hook, string podIp, CancellationToken cancellationToken)
    {
        if (hook.At("exec") is not null)
            return await ExecAsync(containerId, hook, cancellationToken);
        if (hook["httpGet"] is JsonObject http)
            return await HttpAsync(container, http, podIp, cancellationToken);
        if (hook.At("sleep") is not null)
        {
            await Task.Delay(TimeSpan.FromSeconds(Math.Clamp(hook.Number(0, "sleep", "seconds"), 0, 24 * 3600)), context.Time, cancellationToken);
            return null;
        }

        // tcpSocket too: the API server accepts it, and a kubelet fails it when it comes to run.
        return "invalid handler: none of exec, httpGet and sleep";
    }

    private async Task<string?> ExecAsync(string containerId, JsonNode hook, CancellationToken cancellationToken)
    {
        try
        {
            var result = await context.Cri.ExecSyncAsync(containerId, hook.Texts("exec", "command"), TimeSpan.Zero, cancellationToken);
            return result.ExitCode == 0 ? null : $"the command exited with {result.ExitCode}";
        }
        catch (GrpcException e)
        {
            return e.Detail;
        }
    }

    private async Task<string?> HttpAsync(ContainerDescription container, JsonObject action, string podIp, CancellationToken cancellationToken)
    {
        if (HttpGetTarget.Read(action, container.Json, out var error) is not { } target)
            return error;
        try
        {
            try
            {
                // Whatever the status: that the request came through is enough.
                await context.Http.GetAsync(target, podIp, HttpGetClient.HookAgent, TimeSpan.Zero, cancellationToken);
            }
            catch (HttpGetException e) when (e.IsPlainHttp)
            {
                var headers = target.Headers.Where(header => !header.Key.Equals("Authorization", StringComparison.OrdinalIgnoreCase)).ToList();
                await context.Http.GetAsync(target with { Scheme = "http", Headers = headers }, podIp, HttpGetClient.HookAgent, TimeSpan.Zero, cancellationToken);
                await report(
                    true, "LifecycleHTTPFallback", $"request to HTTPS lifecycle hook {(target.Host.Length > 0 ? target.Host : podIp)} got HTTP response, retry with HTTP succeeded",
                    container.FieldPath, cancellationToken);
            }

            return null;
        }
        catch (Exception e) when (e is HttpGetException or FormatException)
        {
            return e.Message;
        }
    }
}

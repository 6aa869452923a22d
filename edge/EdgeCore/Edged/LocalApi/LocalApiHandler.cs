using System.Text.Json.Nodes;
using Edge.Core.Configuration;
using Edge.Protocol.Cri;
using Edge.Protocol.Grpc;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Primitives;

namespace Edge.Core.Edged.LocalApi;

/// <summary>Answers the local API's requests: who may, what is meant, and the answer. Any number at once.</summary>
/// <param name="metrics">EdgeCore's own metrics as Prometheus text.</param>
/// <param name="stopping">Ends what would go on for ever.</param>
internal sealed class LocalApiHandler(
    EdgeCoreOptions options, LocalApiAccess access, PodDirectory pods, CriClient cri, UsageSampler usage, Func<string> metrics, LocalApiMetrics counts, TimeProvider time,
    ILogger log, CancellationToken stopping)
{
    private const string Prometheus = "text/plain; version=0.0.4; charset=utf-8";
    private const string PlainText = "text/plain; charset=utf-8";

    private readonly LogFileReader _logs = new(time);

    public async Task HandleAsync(HttpContext context)
    {
        var path = (context.Request.Path.Value ?? "").Split('/', StringSplitOptions.RemoveEmptyEntries);
        var endpoint = Endpoint(path);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, stopping);
        try
        {
            if (endpoint != "healthz")
            {
                var decision = access.Check(context.Request.Headers.Authorization, context.Connection.ClientCertificate);
                if (!decision.IsAllowed)
                {
                    if (decision.Status == StatusCodes.Status401Unauthorized)
                        context.Response.Headers.WWWAuthenticate = "Bearer";
                    throw new LocalApiRefusal(decision.Status, decision.Text);
                }
            }

            await RouteAsync(context, path, stop.Token);
        }
        catch (LocalApiRefusal e)
        {
            await RefuseAsync(context, e.Status, e.Message);
        }
        catch (GrpcException e)
        {
            var status = e.Code switch { GrpcStatusCode.NotFound => 404, GrpcStatusCode.Unimplemented => 501, GrpcStatusCode.Unavailable or GrpcStatusCode.DeadlineExceeded => 503, _ => 500 };
            await RefuseAsync(context, status, $"the container runtime: {e.Detail}");
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            await RefuseAsync(context, 404, "there is no log yet, or it is gone");
        }
        catch (Exception e) when (stop.IsCancellationRequested && e is OperationCanceledException or IOException or Microsoft.AspNetCore.Connections.ConnectionResetException)
        {
            context.Abort(); // the client went, or edgecore stops: what was not sent is not to look complete
        }
        catch (Exception e) // the outermost frame of a request
        {
            LocalApiLog.Defect(log, context.Request.Path, e);
            await RefuseAsync(context, 500, "this request met a defect, which EdgeCore's log describes (event 4104)");
        }
        finally
        {
            counts.Count(endpoint, context.Response.StatusCode);
        }
    }

    // A word of a fixed set, since it is a label.
    private static string Endpoint(string[] path) => path switch
    {
        ["healthz" or "pods" or "configz" or "metrics"] => path[0],
        ["metrics", "resource" or "cadvisor"] or ["stats", "summary"] => $"{path[0]}/{path[1]}",
        ["containerLogs" or "exec" or "attach" or "portForward", ..] => path[0],
        _ => "other",
    };

    private Task RouteAsync(HttpContext context, string[] path, CancellationToken cancellationToken)
    {
        var method = context.Request.Method;
        var streams = path is ["exec" or "attach" or "portForward", ..];
        if (method != HttpMethods.Get && !(streams ? method == HttpMethods.Post : method == HttpMethods.Head))
        {
            context.Response.Headers.Allow = streams ? "GET, POST" : "GET, HEAD";
            throw new LocalApiRefusal(405, $"{method} is not possible here, only {context.Response.Headers.Allow}");
        }

        return path switch
        {
            ["healthz"] => TextAsync(context, PlainText, "ok"),
            ["pods"] => JsonAsync(context, pods.List()),
            ["configz"] => JsonAsync(context, ConfigView.Build(options)),
            ["metrics"] => TextAsync(context, Prometheus, metrics() + counts.Text()),
            ["metrics", "resource"] => UsageAsync(context, Prometheus, UsageMetrics.Resource, cancellationToken),
            ["metrics", "cadvisor"] => UsageAsync(context, Prometheus, UsageMetrics.Cadvisor, cancellationToken),
            ["stats", "summary"] => SummaryAsync(context, cancellationToken),
            ["containerLogs", var ns, var pod, var container] => LogsAsync(context, pods.Pod(ns, pod, null), container, cancellationToken),
            ["exec", var ns, var pod, var container] => ExecAsync(context, pods.Pod(ns, pod, null), container, cancellationToken),
            ["exec", var ns, var pod, var uid, var container] => ExecAsync(context, pods.Pod(ns, pod, uid), container, cancellationToken),
            ["attach", var ns, var pod, var container] => AttachAsync(context, pods.Pod(ns, pod, null), container, cancellationToken),
            ["attach", var ns, var pod, var uid, var container] => AttachAsync(context, pods.Pod(ns, pod, uid), container, cancellationToken),
            ["portForward", var ns, var pod] => PortForwardAsync(context, pods.Pod(ns, pod, null), cancellationToken),
            ["portForward", var ns, var pod, var uid] => PortForwardAsync(context, pods.Pod(ns, pod, uid), cancellationToken),
            _ => throw new LocalApiRefusal(
                404, "there are /healthz, /pods, /containerLogs/NAMESPACE/POD/CONTAINER, /exec/NAMESPACE/POD/CONTAINER, /attach/NAMESPACE/POD/CONTAINER, /portForward/NAMESPACE/POD, "
                    + "/stats/summary, /metrics, /metrics/resource, /metrics/cadvisor and /configz"),
        };
    }

    private async Task LogsAsync(HttpContext context, PodDescription pod, string name, CancellationToken cancellationToken)
    {
        var container = PodDirectory.Container(pod, name);
        var wanted = ContainerLogOptions.Parse(key => context.Request.Query[key] is [var value, ..] ? value : null, time.GetUtcNow());
        var source = await pods.LogAsync(pod, container.Name, wanted.Previous, cancellationToken);
        using var place = wanted.Follow ? counts.OpenStream() : null;
        if (!File.Exists(source.Path))
            throw new FileNotFoundException(null, source.Path);
        context.Response.ContentType = PlainText;
        // A follower sees that he is connected before the container says anything.
        await context.Response.StartAsync(cancellationToken);
        var malformed = await _logs.CopyAsync(source.Path, wanted, token => source.Ended ? Task.FromResult(false) : IsRunningAsync(source.ContainerId, token), context.Response.BodyWriter, cancellationToken);
        if (malformed > 0)
            LocalApiLog.MalformedLog(log, malformed, source.Path);
    }

    private async Task<bool> IsRunningAsync(string containerId, CancellationToken cancellationToken)
    {
        if (containerId.Length == 0)
            return true; // the runtime was not there to say which container it is: the follower decides when to end
        try
        {
            return (await cri.ContainerStatusAsync(containerId, cancellationToken)).State != Protocol.Cri.V1.ContainerState.ContainerExited;
        }
        catch (GrpcException e)
        {
            return e.Code != GrpcStatusCode.NotFound; // a runtime that restarts leaves containers running
        }
    }

    private async Task ExecAsync(HttpContext context, PodDescription pod, string name, CancellationToken cancellationToken)
    {
        var upgrade = StreamProxy.RequireUpgrade(context);
        var container = PodDirectory.Container(pod, name);
        _ = StreamRequest.Exec("", Values(context)); // what is wrong with the query is said before what is wrong with the container
        var request = StreamRequest.Exec(await pods.RunningAsync(pod, container.Name, cancellationToken), Values(context));
        await StreamAsync("exec", context, upgrade, pod, container.Name, () => cri.ExecAsync(request, cancellationToken), cancellationToken);
    }

    private async Task AttachAsync(HttpContext context, PodDescription pod, string name, CancellationToken cancellationToken)
    {
        var upgrade = StreamProxy.RequireUpgrade(context);
        var container = PodDirectory.Container(pod, name);
        var tty = Kubernetes.KubeObject.Flag(container.Json, false, "tty");
        _ = StreamRequest.Attach("", tty, Values(context));
        var request = StreamRequest.Attach(await pods.RunningAsync(pod, container.Name, cancellationToken), tty, Values(context));
        await StreamAsync("attach", context, upgrade, pod, container.Name, () => cri.AttachAsync(request, cancellationToken), cancellationToken);
    }

    private async Task PortForwardAsync(HttpContext context, PodDescription pod, CancellationToken cancellationToken)
    {
        var upgrade = StreamProxy.RequireUpgrade(context);
        var request = StreamRequest.PortForward(await pods.SandboxAsync(pod, cancellationToken), Values(context));
        await StreamAsync("portForward", context, upgrade, pod, "", () => cri.PortForwardAsync(request, cancellationToken), cancellationToken);
    }

    // Says who does something in a container, never what: a command may hold a secret.
    private async Task StreamAsync(
        string verb, HttpContext context, Microsoft.AspNetCore.Http.Features.IHttpUpgradeFeature upgrade, PodDescription pod, string container, Func<Task<string>> prepare,
        CancellationToken cancellationToken)
    {
        using var place = counts.OpenStream();
        LocalApiLog.Stream(log, verb, Client(context), $"{pod.Namespace}/{pod.Name}", container);
        await StreamProxy.RunAsync(context, upgrade, await prepare(), time, cancellationToken);
    }

    private async Task UsageAsync(HttpContext context, string type, Func<UsageReport, string> write, CancellationToken cancellationToken)
        => await TextAsync(context, type, write(await usage.SampleAsync(cancellationToken)));

    private async Task SummaryAsync(HttpContext context, CancellationToken cancellationToken)
    {
        var only = ContainerLogOptions.Flag(key => context.Request.Query[key] is [var value, ..] ? value : null, "only_cpu_and_memory");
        var report = await usage.SampleAsync(cancellationToken);
        if (report.Error.Length > 0)
            throw new LocalApiRefusal(503, $"the container runtime: {report.Error}");
        await JsonAsync(context, StatsSummary.Build(report, only));
    }

    private static Func<string, IReadOnlyList<string>> Values(HttpContext context)
        => key => context.Request.Query.TryGetValue(key, out StringValues values) ? [.. values.OfType<string>()] : [];

    private static Task JsonAsync(HttpContext context, JsonObject json) => TextAsync(context, "application/json", json.ToJsonString());

    private static Task TextAsync(HttpContext context, string type, string text)
    {
        context.Response.ContentType = type;
        return context.Response.WriteAsync(text, context.RequestAborted);
    }

    private static string Client(HttpContext context)
        => context.Connection.ClientCertificate is { } certificate ? certificate.Subject : $"the token's holder at {context.Connection.RemoteIpAddress}";

    private async Task RefuseAsync(HttpContext context, int status, string text)
    {
        LocalApiLog.Refused(log, context.Request.Method, context.Request.Path, context.Connection.RemoteIpAddress?.ToString() ?? "", status, text);
        if (context.Response.HasStarted)
        {
            context.Abort();
            return;
        }

        context.Response.StatusCode = status;
        await TextAsync(context, PlainText, text + "\n");
    }
}

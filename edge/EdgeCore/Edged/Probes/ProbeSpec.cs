using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Core.Edged.Probes;

/// <summary>Which question a probe answers.</summary>
internal enum ProbeKind
{
    /// <summary>Has the container come up? Until it has, the other two are not asked.</summary>
    Startup,

    /// <summary>Is it to go on? A failure has it killed.</summary>
    Liveness,

    /// <summary>May it get traffic? A failure takes it out of the pod's Ready condition.</summary>
    Readiness,
}

/// <summary>How a probe asks.</summary>
internal abstract record ProbeHandler
{
    /// <summary>Runs a command in the container; exit code 0 is success.</summary>
    public sealed record Exec(IReadOnlyList<string> Command) : ProbeHandler;

    /// <summary>An HTTP GET; status 200 to 399 is success.</summary>
    public sealed record HttpGet(HttpGetTarget Target) : ProbeHandler;

    /// <summary>A TCP connection that opens is success.</summary>
    /// <param name="Host">Empty for the pod's own address.</param>
    public sealed record TcpSocket(string Host, int Port) : ProbeHandler;

    /// <summary><c>grpc.health.v1.Health/Check</c> of the service; SERVING is success.</summary>
    public sealed record Grpc(int Port, string Service) : ProbeHandler;

    /// <summary>It cannot be asked: every run is an error, which changes no verdict.</summary>
    public sealed record Invalid(string Reason) : ProbeHandler;
}

/// <summary>What an httpGet of a probe or hook asks for.</summary>
/// <param name="Scheme"><c>http</c> or <c>https</c>; certificates are not verified, as a kubelet does not.</param>
/// <param name="Host">Empty for the pod's own address.</param>
/// <param name="Headers">In order; a name may come more than once.</param>
internal sealed record HttpGetTarget(string Scheme, string Host, int Port, string Path, IReadOnlyList<KeyValuePair<string, string>> Headers)
{
    /// <summary>Reads v1.HTTPGetAction; null with the reason when its port means nothing.</summary>
    public static HttpGetTarget? Read(JsonObject action, JsonObject container, out string error)
    {
        if (!ProbeSpec.TryPort(action["port"], container, out var port, out error))
            return null;
        var scheme = action.Text("scheme") is { Length: > 0 } set ? set.ToLowerInvariant() : "http";
        return new HttpGetTarget(
            scheme, action.Text("host"), port, action.Text("path"),
            [.. action.Items("httpHeaders").Select(header => KeyValuePair.Create(header.Text("name"), header.Text("value")))]);
    }
}

/// <summary>One probe of a container (v1.Probe) with the API server's defaults. Immutable.</summary>
/// <param name="InitialDelay">From the container's start to the first run.</param>
/// <param name="SuccessThreshold">Successes in a row that make it succeed.</param>
/// <param name="FailureThreshold">Failures in a row that make it fail.</param>
/// <param name="Grace">The probe's own terminationGracePeriodSeconds, or null for the pod's.</param>
internal sealed record ProbeSpec(
    ProbeKind Kind, ProbeHandler Handler, TimeSpan InitialDelay, TimeSpan Period, TimeSpan Timeout, int SuccessThreshold, int FailureThreshold, TimeSpan? Grace)
{
    /// <summary>The container's probe of this kind, or null when it has none.</summary>
    public static ProbeSpec? Read(JsonObject container, ProbeKind kind)
    {
        if (container[kind switch { ProbeKind.Startup => "startupProbe", ProbeKind.Liveness => "livenessProbe", _ => "readinessProbe" }] is not JsonObject probe)
            return null;
        var grace = probe.Number(0, "terminationGracePeriodSeconds");
        return new ProbeSpec(
            kind, ReadHandler(probe, container), Seconds(probe, "initialDelaySeconds", 0, 0), Seconds(probe, "periodSeconds", 10, 1), Seconds(probe, "timeoutSeconds", 1, 1),
            Count(probe, "successThreshold", 1), Count(probe, "failureThreshold", 3),
            grace > 0 && kind != ProbeKind.Readiness ? TimeSpan.FromSeconds(Math.Min(grace, 24 * 3600)) : null);
    }

    /// <summary>A port as a number from 1 to 65535, or the name of one of the container's ports.</summary>
    public static bool TryPort(JsonNode? node, JsonObject container, out int port, out string error)
    {
        error = "";
        var name = node is JsonValue value && value.TryGetValue<string>(out var text) ? text : "";
        if (!node.TryWhole(out var number) && !long.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out number))
        {
            number = container.Items("ports").FirstOrDefault(item => item.Text("name") == name && name.Length > 0).Number(0, "containerPort");
            if (number == 0)
                error = $"couldn't find port: {(name.Length > 0 ? name : node?.ToJsonString() ?? "none is given")}";
        }

        port = number is > 0 and < 65536 ? (int)number : 0;
        if (port == 0 && error.Length == 0)
            error = string.Create(CultureInfo.InvariantCulture, $"invalid port number: {number}");
        return port > 0;
    }

    private static ProbeHandler ReadHandler(JsonObject probe, JsonObject container)
    {
        if (probe["exec"] is JsonObject exec)
        {
            // As a kubelet: only what the specification itself gives as a value is known here, not what comes from elsewhere.
            var values = new Dictionary<string, string>(StringComparer.Ordinal);
            foreach (var env in container.Items("env"))
                values[env.Text("name")] = env.Text("value");
            return new ProbeHandler.Exec([.. exec.Texts("command").Select(text => PodEnvironment.Expand(text, values))]);
        }

        string error;
        if (probe["httpGet"] is JsonObject http)
            return HttpGetTarget.Read(http, container, out error) is { } target ? new ProbeHandler.HttpGet(target) : new ProbeHandler.Invalid(error);
        if (probe["tcpSocket"] is JsonObject tcp)
            return TryPort(tcp["port"], container, out var port, out error) ? new ProbeHandler.TcpSocket(tcp.Text("host"), port) : new ProbeHandler.Invalid(error);
        if (probe["grpc"] is JsonObject grpc)
            return TryPort(grpc["port"], container, out var port, out error) ? new ProbeHandler.Grpc(port, grpc.Text("service")) : new ProbeHandler.Invalid(error);
        return new ProbeHandler.Invalid("missing probe handler: it has none of exec, httpGet, tcpSocket and grpc");
    }

    // Zero is what a client leaves out: the default. A day is more than any probe means and keeps sums of times in range.
    private static TimeSpan Seconds(JsonObject probe, string key, long absent, long least)
    {
        var set = probe.Number(0, key);
        return TimeSpan.FromSeconds(Math.Clamp(set > 0 ? set : absent, least, 24 * 3600));
    }

    private static int Count(JsonObject probe, string key, int absent) => (int)Math.Min(probe.Number(0, key) is > 0 and var set ? set : absent, int.MaxValue);
}

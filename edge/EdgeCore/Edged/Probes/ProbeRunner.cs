using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using Edge.Protocol.Grpc;
using Edge.Protocol.Grpc.Health;

namespace Edge.Core.Edged.Probes;

/// <summary>Asks one probe once, and says what came of it in a kubelet's words.</summary>
internal sealed class ProbeRunner(PodContext context)
{
    private const int Tries = 3;
    private const int OutputMax = 10 * 1024;

    /// <summary>What a run said.</summary>
    /// <param name="Warning">True when it counts as a success that a person should look at.</param>
    internal sealed record Answer(ProbeResult Result, string Text, bool Warning = false);

    /// <summary>Runs the probe; an error is tried three times, as a kubelet does.</summary>
    public async Task<Answer> RunAsync(ProbeRun run, string podIp, CancellationToken cancellationToken)
    {
        for (var tries = 1; ; tries++)
        {
            var answer = await OnceAsync(run, podIp, cancellationToken);
            if (answer.Result != ProbeResult.Error || tries == Tries)
                return answer;
        }
    }

    private Task<Answer> OnceAsync(ProbeRun run, string podIp, CancellationToken cancellationToken) => run.Spec.Handler switch
    {
        ProbeHandler.Exec exec => ExecAsync(run, exec.Command, cancellationToken),
        ProbeHandler.HttpGet http => HttpAsync(http.Target, podIp, run.Spec.Timeout, cancellationToken),
        ProbeHandler.TcpSocket tcp => TcpAsync(tcp.Host.Length > 0 ? tcp.Host : podIp, tcp.Port, run.Spec.Timeout, cancellationToken),
        ProbeHandler.Grpc grpc => GrpcAsync(podIp, grpc, run.Spec.Timeout, cancellationToken),
        ProbeHandler.Invalid invalid => Task.FromResult(new Answer(ProbeResult.Error, invalid.Reason)),
        _ => throw new UnreachableException(run.Spec.Handler.ToString()),
    };

    private async Task<Answer> ExecAsync(ProbeRun run, IReadOnlyList<string> command, CancellationToken cancellationToken)
    {
        try
        {
            var result = await context.Cri.ExecSyncAsync(run.ContainerId, command, run.Spec.Timeout, cancellationToken);
            var output = result.Stdout.ToStringUtf8() + result.Stderr.ToStringUtf8();
            return new Answer(result.ExitCode == 0 ? ProbeResult.Success : ProbeResult.Failure, output.Length > OutputMax ? output[..OutputMax] : output);
        }
        catch (GrpcException e) when (e.Code == GrpcStatusCode.DeadlineExceeded)
        {
            return new Answer(ProbeResult.Failure, $"command timed out: \"{string.Join(' ', command)}\" timed out after {Seconds(run.Spec.Timeout)}");
        }
        catch (GrpcException e)
        {
            return new Answer(ProbeResult.Error, e.Detail);
        }
    }

    private async Task<Answer> HttpAsync(HttpGetTarget target, string podIp, TimeSpan timeout, CancellationToken cancellationToken)
    {
        try
        {
            var answer = await context.Http.GetAsync(target, podIp, HttpGetClient.ProbeAgent, timeout, cancellationToken);

            // The body of a failure is not told: it may hold what others should not read.
            return answer.Status switch
            {
                >= 200 and < 300 => new Answer(ProbeResult.Success, answer.Body),
                >= 300 and < 400 => new Answer(ProbeResult.Success, $"Probe terminated redirects, Response body: {answer.Body}", Warning: true),
                _ => new Answer(ProbeResult.Failure, string.Create(CultureInfo.InvariantCulture, $"HTTP probe failed with statuscode: {answer.Status}")),
            };
        }
        catch (HttpGetException e)
        {
            return new Answer(ProbeResult.Failure, e.Message);
        }
        catch (FormatException e)
        {
            return new Answer(ProbeResult.Error, e.Message);
        }
    }

    private async Task<Answer> TcpAsync(string host, int port, TimeSpan timeout, CancellationToken cancellationToken)
    {
        using var timer = new CancellationTokenSource(timeout, context.Time);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, timer.Token);
        using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
        try
        {
            await socket.ConnectAsync(host, port, limit.Token);
            return new Answer(ProbeResult.Success, "");
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return new Answer(ProbeResult.Failure, $"dial tcp {host}:{port}: i/o timeout");
        }
        catch (SocketException e)
        {
            return new Answer(ProbeResult.Failure, HttpGetClient.Reason(e, host, port));
        }
    }

    private async Task<Answer> GrpcAsync(string podIp, ProbeHandler.Grpc probe, TimeSpan timeout, CancellationToken cancellationToken)
    {
        using var channel = GrpcChannel.ToTcp(podIp, probe.Port, HttpGetClient.ProbeAgent, context.Time);
        try
        {
            var answer = await channel.UnaryAsync(
                "/grpc.health.v1.Health/Check", new HealthCheckRequest { Service = probe.Service }, HealthCheckResponse.Parser, timeout, cancellationToken);
            return answer.Status == HealthCheckResponse.Types.ServingStatus.Serving
                ? new Answer(ProbeResult.Success, "service healthy")
                : new Answer(ProbeResult.Failure, $"service unhealthy (responded with \"{Name(answer.Status)}\")");
        }
        catch (GrpcException e)
        {
            return new Answer(ProbeResult.Failure, e.Code switch
            {
                GrpcStatusCode.Unimplemented => $"error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {e.Detail}",
                GrpcStatusCode.DeadlineExceeded => $"timeout: health rpc did not complete within {Seconds(timeout)}",
                GrpcStatusCode.Unavailable => $"error: failed to connect service at \"{podIp}:{probe.Port}\": {(e.InnerException is { } inner ? HttpGetClient.Reason(inner, podIp, probe.Port) : e.Detail)}",
                _ => $"error: health rpc probe failed: rpc error: code = {e.Code} desc = {e.Detail}",
            });
        }
    }

    private static string Name(HealthCheckResponse.Types.ServingStatus status) => status switch
    {
        HealthCheckResponse.Types.ServingStatus.NotServing => "NOT_SERVING",
        HealthCheckResponse.Types.ServingStatus.ServiceUnknown => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    };

    private static string Seconds(TimeSpan time) => string.Create(CultureInfo.InvariantCulture, $"{time.TotalSeconds:0.###}s");
}

using System.Globalization;
using Edge.Protocol.Cri.V1;

namespace Edge.Core.Edged.LocalApi;

/// <summary>Reads the queries of a kubelet's <c>/exec</c>, <c>/attach</c> and <c>/portForward</c> into the runtime's requests. Pure.
/// Every method throws <see cref="LocalApiRefusal"/> 400 naming what is wrong.</summary>
internal static class StreamRequest
{
    private const int PortsMax = 64;

    /// <param name="values">All values of a parameter, in order.</param>
    public static ExecRequest Exec(string containerId, Func<string, IReadOnlyList<string>> values)
    {
        var (input, output, error) = Streams(values);
        var request = new ExecRequest { ContainerId = containerId, Tty = Flag(values, "tty"), Stdin = input, Stdout = output };
        request.Cmd.Add(values("command"));
        if (request.Cmd.Count == 0)
            throw new LocalApiRefusal(400, "command is missing: give it once for the program and once for each argument, e.g. ?command=ls&command=-l&output=1");
        request.Stderr = error && !request.Tty; // a terminal has one output
        return request;
    }

    /// <param name="tty">Whether the container was started with a terminal; attach cannot choose.</param>
    public static AttachRequest Attach(string containerId, bool tty, Func<string, IReadOnlyList<string>> values)
    {
        var (input, output, error) = Streams(values);
        return new AttachRequest { ContainerId = containerId, Tty = tty, Stdin = input, Stdout = output, Stderr = error && !tty };
    }

    /// <remarks>SPDY clients name the ports in their streams, WebSocket clients here.</remarks>
    public static PortForwardRequest PortForward(string sandboxId, Func<string, IReadOnlyList<string>> values)
    {
        var request = new PortForwardRequest { PodSandboxId = sandboxId };
        foreach (var text in values("port").Concat(values("ports")).SelectMany(value => value.Split(',')))
        {
            if (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var port) || port is < 1 or > 65535)
                throw new LocalApiRefusal(400, $"port is '{text}', must be from 1 to 65535");
            request.Port.Add(port);
        }

        if (request.Port.Count > PortsMax)
            throw new LocalApiRefusal(400, $"{request.Port.Count} ports are asked for; at most {PortsMax} go over one connection");
        return request;
    }

    // A kubelet's names, and those of the API server's own path (stdin, stdout, stderr).
    private static (bool Input, bool Output, bool Error) Streams(Func<string, IReadOnlyList<string>> values)
    {
        var streams = (Flag(values, "input") || Flag(values, "stdin"), Flag(values, "output") || Flag(values, "stdout"), Flag(values, "error") || Flag(values, "stderr"));
        return streams is (false, false, false) ? throw new LocalApiRefusal(400, "nothing to do: set at least one of input, output and error to 1") : streams;
    }

    private static bool Flag(Func<string, IReadOnlyList<string>> values, string name)
        => ContainerLogOptions.Flag(one => values(one) is [var first, ..] ? first : null, name);
}

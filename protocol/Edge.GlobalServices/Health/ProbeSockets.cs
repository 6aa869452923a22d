using System.Buffers.Binary;
using System.Net.Sockets;
using Edge.GlobalServices.Locations;

namespace Edge.GlobalServices.Health;

/// <summary>The end of a check.</summary>
/// <param name="Error">Null for a success.</param>
/// <param name="WasAsked">False when this process had no file left for a socket: that says nothing about the endpoint.</param>
internal readonly record struct ProbeResult(HealthProbe Probe, string? Error, bool WasAsked = true);

/// <summary>Runs tcp and http checks on sockets of its own, without a thread and without waiting: <see cref="Start"/> begins one, <see cref="Advance"/> takes all a step
/// further. One owner. An http connection whose answer came whole is kept for the next checks of its endpoint, as far as the check allows it
/// (<see cref="HealthCheckSpec.ChecksPerConnection"/>) and files are left; where a kept one turns out to be closed, the check begins anew on a new one.</summary>
internal sealed class ProbeSockets : IDisposable
{
    /// <summary>Checks at once.</summary>
    public const int AtOnceMax = 1024;

    private readonly ProbeNative.Polled[] _polled = new ProbeNative.Polled[AtOnceMax];
    private readonly Exchange[] _running = new Exchange[AtOnceMax];
    private readonly Stack<Exchange> _free = new();
    private readonly Dictionary<string, Kept> _kept = new(StringComparer.Ordinal);
    private readonly int _keptMax;

    /// <param name="keptShare">Of the files that this process may open, the share that connections kept between checks may be; the others are for all else.</param>
    public ProbeSockets(double keptShare) => _keptMax = (int)(keptShare * ProbeNative.FilesMax());

    /// <summary>Checks that have begun and not ended.</summary>
    public int Running { get; private set; }

    /// <summary>Connections open between checks.</summary>
    public int Idle => _kept.Count;

    /// <summary>Begins a check; there must be room (<see cref="AtOnceMax"/>).</summary>
    /// <param name="ended">Gets it when it has ended at once.</param>
    public void Start(HealthProbe probe, long nowMs, List<ProbeResult> ended)
    {
        if (!_free.TryPop(out var exchange))
            exchange = new Exchange();
        var (target, check) = (probe.Target, probe.Target.Check);
        exchange.Probe = probe;
        exchange.DeadlineMs = nowMs + check.TimeoutMs;
        exchange.Uses = 0;
        var at = Running++;
        _running[at] = exchange;
        if (check.Kind == CheckKind.Http && _kept.Remove(target.Endpoint, out var kept))
        {
            if (kept.Address == target.Address && kept.Port == target.Port && kept.Uses < check.ChecksPerConnection && IsQuiet(kept.File, exchange.Buffer))
            {
                (_polled[at].File, exchange.Uses) = (kept.File, kept.Uses);
                Ask(at, ended);
                return;
            }

            _ = ProbeNative.Close(kept.File);
        }

        Connect(at, ended);
    }

    /// <summary>Takes every check as far as it goes without waiting; ends those whose time is over.</summary>
    public void Advance(long nowMs, List<ProbeResult> ended)
    {
        if (Running == 0)
            return;
        // Fails for want of kernel memory only; then nothing goes on in this tick, and what lasts ends by its deadline.
        if (ProbeNative.Poll(_polled.AsSpan(0, Running)) < 0)
        {
            foreach (ref var polled in _polled.AsSpan(0, Running))
                polled.Seen = 0;
        }

        // From the end: what ends is replaced by the last, which has been looked at.
        for (var at = Running - 1; at >= 0; at--)
        {
            var exchange = _running[at];
            if (_polled[at].Seen != 0)
                Step(at, exchange, ended);
            // One that sends a byte now and then runs out of time as well.
            if (at < Running && _running[at] == exchange && exchange.DeadlineMs <= nowMs)
                End(at, $"timed out after {exchange.Probe.Target.Check.TimeoutMs} ms", ended);
        }
    }

    /// <summary>Closes what is kept for endpoints that are none any more.</summary>
    public void Retain(IReadOnlyCollection<HealthTarget> targets)
    {
        if (_kept.Count == 0)
            return;
        var known = targets.Select(target => target.Endpoint).ToHashSet(StringComparer.Ordinal);
        foreach (var (endpoint, kept) in _kept.Where(one => !known.Contains(one.Key)).ToList())
        {
            _kept.Remove(endpoint);
            _ = ProbeNative.Close(kept.File);
        }
    }

    public void Dispose()
    {
        for (; Running > 0; Running--)
            _ = ProbeNative.Close(_polled[Running - 1].File);
        DropKept();
    }

    private void Step(int at, Exchange exchange, List<ProbeResult> ended)
    {
        switch (exchange.Phase)
        {
            case Phase.Connecting when exchange.Probe.Target.Check.Kind == CheckKind.Tcp:
                var error = (_polled[at].Seen & (ProbeNative.PollError | ProbeNative.PollHangup)) != 0 ? ProbeNative.ErrorOf(_polled[at].File) : 0;
                End(at, error == 0 ? null : Text(error), ended);
                break;
            case Phase.Connecting or Phase.Asking:
                Send(at, exchange, ended); // a connection that failed says so here
                break;
            default:
                Receive(at, exchange, ended);
                break;
        }
    }

    private void Connect(int at, List<ProbeResult> ended)
    {
        var (exchange, target) = (_running[at], _running[at].Probe.Target);
        Span<byte> address = stackalloc byte[28];
        var isIPv4 = Write(target, address, out var length);
        var file = ProbeNative.Open(isIPv4 ? 2 : 10);
        if (file < 0 && ProbeNative.Error is ProbeNative.TooMany or ProbeNative.TooManyInSystem && _kept.Count > 0)
        {
            DropKept();
            file = ProbeNative.Open(isIPv4 ? 2 : 10);
        }

        _polled[at].File = file;
        if (file < 0)
        {
            var error = ProbeNative.Error;
            End(at, Text(error), ended, wasAsked: error is not (ProbeNative.TooMany or ProbeNative.TooManyInSystem));
            return;
        }

        if (target.Check.Kind == CheckKind.Http)
            ProbeNative.AcknowledgeByRequest(file);
        var answer = ProbeNative.Connect(file, address[..length]);
        if (answer is not (0 or ProbeNative.InProgress))
        {
            End(at, Text(answer), ended);
            return;
        }

        (exchange.Phase, exchange.Uses) = (Phase.Connecting, 0);
        _polled[at].Wanted = ProbeNative.PollOut;
        if (target.Check.Kind == CheckKind.Http)
            Ask(at, ended); // a near one is connected by now, another takes it when it is
    }

    private void Ask(int at, List<ProbeResult> ended)
    {
        var (exchange, check) = (_running[at], _running[at].Probe.Target.Check);
        exchange.Uses++;
        (exchange.Sent, exchange.Received) = (0, 0);
        if (!HttpAnswer.TryWriteRequest(exchange.Buffer, exchange.Probe.Target, isLast: exchange.Uses >= check.ChecksPerConnection || _kept.Count >= _keptMax, out exchange.Length))
            End(at, $"the request is longer than {HttpAnswer.BytesMax} bytes: make path or host shorter", ended);
        else
            Send(at, exchange, ended);
    }

    private void Send(int at, Exchange exchange, List<ProbeResult> ended)
    {
        var sent = ProbeNative.Send(_polled[at].File, exchange.Buffer.AsSpan(exchange.Sent, exchange.Length - exchange.Sent));
        if (sent < 0 && ProbeNative.Error == ProbeNative.Again)
        {
            _polled[at].Wanted = ProbeNative.PollOut;
            return;
        }

        if (sent < 0)
        {
            Broken(at, exchange, Text(ProbeNative.Error), ended);
            return;
        }

        exchange.Sent += sent;
        var isSent = exchange.Sent == exchange.Length;
        exchange.Phase = isSent ? Phase.Listening : Phase.Asking;
        _polled[at].Wanted = (short)(isSent ? ProbeNative.PollIn : ProbeNative.PollOut);
    }

    private void Receive(int at, Exchange exchange, List<ProbeResult> ended)
    {
        var received = ProbeNative.Receive(_polled[at].File, exchange.Buffer.AsSpan(exchange.Received));
        if (received < 0 && ProbeNative.Error == ProbeNative.Again)
            return;
        if (received < 0 || (received == 0 && exchange is { Received: 0, Uses: > 1 }))
        {
            Broken(at, exchange, received < 0 ? Text(ProbeNative.Error) : "", ended);
            return;
        }

        exchange.Received += received;
        var bytes = exchange.Buffer.AsSpan(0, exchange.Received);
        if (HttpAnswer.TryJudge(bytes, received == 0 || exchange.Received == exchange.Buffer.Length, exchange.Probe.Target.Check, out var error))
            End(at, error, ended, isKept: error is null && HttpAnswer.LeavesOpen(bytes));
    }

    /// <summary>Neither closed by its server, nor with words that nobody asked for, as a server may send before it closes (408).</summary>
    private static bool IsQuiet(int file, byte[] buffer) => ProbeNative.Receive(file, buffer) < 0 && ProbeNative.Error == ProbeNative.Again;

    /// <summary>A kept connection that its server has closed meanwhile says nothing: the check begins anew. On a new one it is the answer.</summary>
    private void Broken(int at, Exchange exchange, string error, List<ProbeResult> ended)
    {
        if (exchange is not { Received: 0, Uses: > 1 })
        {
            End(at, error, ended);
            return;
        }

        _ = ProbeNative.Close(_polled[at].File);
        Connect(at, ended);
    }

    private void End(int at, string? error, List<ProbeResult> ended, bool wasAsked = true, bool isKept = false)
    {
        var (exchange, file) = (_running[at], _polled[at].File);
        var target = exchange.Probe.Target;
        if (isKept && exchange.Uses < target.Check.ChecksPerConnection && _kept.Count < _keptMax && _kept.TryAdd(target.Endpoint, new Kept(file, exchange.Uses, target.Address, target.Port)))
            file = -1;
        if (file >= 0 && target.Check.Kind == CheckKind.Http)
            ProbeNative.Reset(file);
        else if (file >= 0)
            _ = ProbeNative.Close(file); // a server may take the reset of a connection without a request for an attack
        var last = --Running;
        (_running[at], _polled[at]) = (_running[last], _polled[last]);
        _free.Push(exchange);
        ended.Add(new ProbeResult(exchange.Probe, error, wasAsked));
    }

    private void DropKept()
    {
        foreach (var kept in _kept.Values)
            _ = ProbeNative.Close(kept.File);
        _kept.Clear();
    }

    // struct sockaddr_in or sockaddr_in6
    private static bool Write(HealthTarget target, Span<byte> address, out int length)
    {
        var ip = Network.ToIPAddress(target.Address);
        var isIPv4 = ip.AddressFamily == AddressFamily.InterNetwork;
        address.Clear();
        BitConverter.TryWriteBytes(address, (ushort)(isIPv4 ? 2 : 10));
        BinaryPrimitives.WriteUInt16BigEndian(address[2..], (ushort)target.Port);
        ip.TryWriteBytes(address[(isIPv4 ? 4 : 8)..], out _);
        length = isIPv4 ? 16 : 28;
        return isIPv4;
    }

    private static string Text(int error) => error switch
    {
        104 or 32 => "connection reset", // ECONNRESET, EPIPE
        110 => "timed out", // ETIMEDOUT
        111 => "connection refused", // ECONNREFUSED
        101 or 113 => "no route to it", // ENETUNREACH, EHOSTUNREACH
        _ => System.Runtime.InteropServices.Marshal.GetPInvokeErrorMessage(error),
    };

    private enum Phase
    {
        Connecting,
        Asking,
        Listening,
    }

    private sealed class Exchange
    {
        public readonly byte[] Buffer = new byte[HttpAnswer.BytesMax];
        public HealthProbe Probe;
        public long DeadlineMs;
        public Phase Phase;
        public int Length;
        public int Sent;
        public int Received;

        /// <summary>Requests on this connection, with the one that runs.</summary>
        public int Uses;
    }

    private readonly record struct Kept(int File, int Uses, UInt128 Address, int Port);
}

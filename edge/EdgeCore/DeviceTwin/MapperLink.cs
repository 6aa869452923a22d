using System.Diagnostics;
using System.Threading.Channels;
using Edge.Common;
using Edge.Common.Tracing;
using Edge.Protocol.Dmi;
using Edge.Protocol.Dmi.V1Beta1;
using Edge.Protocol.Grpc;
using Google.Protobuf;
using Microsoft.Extensions.Logging;

namespace Edge.Core.DeviceTwin;

/// <summary>Keeps one mapper in step: the newest state of each object reaches it, one call at a time, in the order of the changes, on one
/// persistent channel, retried until it answers. Bounded by the number of objects: a newer state replaces a waiting older one.</summary>
internal sealed class MapperLink : IAsyncDisposable
{
    /// <summary>A mapper that has not answered for so long counts as dead.</summary>
    public static readonly TimeSpan DeadAfter = TimeSpan.FromSeconds(5);

    /// <summary>How often a mapper that has nothing to be told is asked whether it is there.</summary>
    public static readonly TimeSpan PingEvery = TimeSpan.FromSeconds(3);

    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(10);
    private readonly string _name;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly Backoff _backoff;
    private readonly GrpcChannel _channel;
    private readonly DmiMapperClient _client;
    private readonly Lock _gate = new();
    private readonly LinkedList<MapperCall> _waiting = [];
    private readonly Dictionary<string, IMessage> _delivered = new(StringComparer.Ordinal);

    // One token: "there is something to do", or "stop waiting, the mapper is back".
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _loop;
    private readonly Func<bool, bool> _seen;
    private readonly Func<MapperCall, string, CancellationToken, ValueTask> _ended;

    // Objects that it refused since it registered; as the next ones, the loop's own.
    private readonly HashSet<string> _refused = new(StringComparer.Ordinal);
    private int _generation;
    private DateTimeOffset? _failingSince;
    private bool? _isAlive; // null before the first answer

    /// <param name="seen">Told when the mapper has not answered for <see cref="DeadAfter"/>, and when it does again; false when it could not take that, and is to be told again.</param>
    /// <param name="ended">Told when the mapper refuses a call, with its reason, and with an empty one when it takes one of the same object after that.</param>
    public MapperLink(
        string name, string address, TimeProvider time, Random random, ILogger log, Func<bool, bool> seen, Func<MapperCall, string, CancellationToken, ValueTask> ended)
    {
        _seen = seen;
        _ended = ended;
        _name = name;
        Address = address;
        _time = time;
        _log = log;
        _backoff = new Backoff(random, TimeSpan.FromMilliseconds(100), TimeSpan.FromSeconds(10));
        _channel = new GrpcChannel(address, time);
        _client = new DmiMapperClient(_channel, s_deadline);
        _loop = Task.Run(RunAsync);
    }

    public string Address { get; }

    /// <summary>The mapper (re)started and has exactly these objects, or gets them with the answer to its registration.</summary>
    public void Reset(IReadOnlyList<MapperCall> delivered)
    {
        lock (_gate)
        {
            _generation++;
            _waiting.Clear();
            _delivered.Clear();
            foreach (var call in delivered)
                _delivered[call.Key] = call.Message!;
        }

        _wake.Writer.TryWrite(true);
    }

    /// <summary>Brings the mapper to this state of the object. Nothing happens when it has it.</summary>
    public void Post(MapperCall call)
    {
        lock (_gate)
            Enqueue(call);
        _wake.Writer.TryWrite(true);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _loop;
        _channel.Dispose();
        _stop.Dispose();
    }

    private void Enqueue(MapperCall call)
    {
        for (var node = _waiting.First; node is not null; node = node.Next)
        {
            if (node.Value.Key != call.Key)
                continue;
            node.Value = call;
            return;
        }

        var known = _delivered.GetValueOrDefault(call.Key);
        if (call.Message is null ? known is not null : !call.Message.Equals(known))
            _waiting.AddLast(call);
    }

    private async Task RunAsync()
    {
        var failing = false;
        var registration = 0;
        try
        {
            while (true)
            {
                MapperCall? call;
                bool known;
                int generation;
                lock (_gate)
                {
                    call = _waiting.First?.Value;
                    known = call is not null && _delivered.ContainsKey(call.Key);
                    generation = _generation;
                }

                // The mapper has just said that it is there.
                if (generation != registration)
                {
                    _backoff.Reset();
                    _refused.Clear();
                    (_isAlive, _failingSince) = (null, null);
                }

                registration = generation;
                if (call is null)
                {
                    if (!await PauseAsync(PingEvery))
                        await PingAsync();
                    continue;
                }

                try
                {
                    using (var span = EdgeTrace.Continue("tell mapper", ActivityKind.Client, call.Trace))
                    {
                        span?.SetTag("edge.mapper", _name).SetTag("edge.resource", call.Key);
                        await TellAsync(call, known);
                    }

                    Answered(true);
                    TwinLog.Told(_log, _name, call.Key);
                    if (Done(call, generation) && _refused.Remove(call.Key))
                        await _ended(call, "", _stop.Token);
                    _backoff.Reset();
                    if (failing)
                        TwinLog.MapperReachable(_log, _name);
                    failing = false;
                }
                catch (GrpcException e) when (e.Code is GrpcStatusCode.Unavailable or GrpcStatusCode.DeadlineExceeded)
                {
                    Answered(false);
                    if (!failing)
                        TwinLog.MapperUnreachable(_log, _name, call.Key, e.Detail);
                    failing = true;
                    await PauseAsync(_backoff.Next());
                }
                catch (GrpcException e) when (known && call.Message is not null && e.Code == GrpcStatusCode.NotFound)
                {
                    // It lost the object (restarted without registering): say it anew.
                    lock (_gate)
                        _delivered.Remove(call.Key);
                }
                catch (GrpcException e)
                {
                    // The same call would be refused again; the next change of the object is a new call.
                    Answered(true);
                    TwinLog.MapperRefused(_log, _name, call.Key, e.Detail);

                    // A mapper without models has no use for them, and does its work all the same.
                    if (Done(call, generation) && call.Message is not null && !(call.IsModel && e.Code == GrpcStatusCode.Unimplemented))
                    {
                        _refused.Add(call.Key);
                        await _ended(call, e.Detail, _stop.Token);
                    }
                }
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // Disposed.
        }
    }

    // Any answer will do, a refusal too: what matters is that somebody answers.
    private async Task PingAsync()
    {
        string device;
        lock (_gate)
        {
            device = _delivered.Keys.FirstOrDefault(key => key.StartsWith("device/", StringComparison.Ordinal)) ?? "device//";
        }

        var parts = device.Split('/');
        try
        {
            await _client.GetDeviceAsync(new GetDeviceRequest { DeviceNamespace = parts[1], DeviceName = parts[2] }, _stop.Token);
            Answered(true);
        }
        catch (GrpcException e)
        {
            Answered(e.Code is not (GrpcStatusCode.Unavailable or GrpcStatusCode.DeadlineExceeded));
        }
    }

    private void Answered(bool isAlive)
    {
        if (isAlive)
        {
            _failingSince = null;
            if (_isAlive != true && _seen(true))
                _isAlive = true;
            return;
        }

        var now = _time.GetUtcNow();
        _failingSince ??= now;
        if (_isAlive == false || now - _failingSince < DeadAfter || !_seen(false))
            return;
        _isAlive = false;
        TwinLog.MapperDead(_log, _name, (now - _failingSince.Value).TotalSeconds);
    }

    // The wait ends early, and says true, when the mapper registers or something newer is to be said.
    private async Task<bool> PauseAsync(TimeSpan delay)
    {
        using var timer = new CancellationTokenSource(delay, _time);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(timer.Token, _stop.Token);
        try
        {
            return await _wake.Reader.ReadAsync(limit.Token);
        }
        catch (OperationCanceledException) when (!_stop.IsCancellationRequested)
        {
            return false; // the delay is over
        }
    }

    // False: the mapper registered meanwhile, and what it said of the call no longer counts.
    private bool Done(MapperCall call, int generation)
    {
        lock (_gate)
        {
            if (generation != _generation)
            {
                // The mapper registered meanwhile; this older call may have landed after its answer, so say the newer state again.
                if (_delivered.Remove(call.Key, out var newer))
                    Enqueue(call with { Message = newer });
                return false;
            }

            for (var node = _waiting.First; node is not null; node = node.Next)
            {
                if (!ReferenceEquals(node.Value, call))
                    continue;
                _waiting.Remove(node);
                break;
            }

            if (call.Message is null)
                _delivered.Remove(call.Key);
            else
                _delivered[call.Key] = call.Message;
            return true;
        }
    }

    private Task TellAsync(MapperCall call, bool known) => call switch
    {
        { IsModel: true, Message: null } => _client.RemoveDeviceModelAsync(
            new RemoveDeviceModelRequest { ModelName = call.Name, ModelNamespace = call.Namespace }, _stop.Token),
        { IsModel: true } when known => _client.UpdateDeviceModelAsync(new UpdateDeviceModelRequest { Model = (DeviceModel)call.Message }, _stop.Token),
        { IsModel: true } => _client.CreateDeviceModelAsync(new CreateDeviceModelRequest { Model = (DeviceModel)call.Message }, _stop.Token),
        { Message: null } => _client.RemoveDeviceAsync(new RemoveDeviceRequest { DeviceName = call.Name, DeviceNamespace = call.Namespace }, _stop.Token),
        _ when known => _client.UpdateDeviceAsync(new UpdateDeviceRequest { Device = (Device)call.Message }, _stop.Token),
        _ => _client.RegisterDeviceAsync(new RegisterDeviceRequest { Device = (Device)call.Message }, _stop.Token),
    };
}

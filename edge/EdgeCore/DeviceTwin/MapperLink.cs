using System.Threading.Channels;
using Edge.Common;
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
    private int _generation;

    public MapperLink(string name, string address, TimeProvider time, Random random, ILogger log)
    {
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

        _backoff.Reset();
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

                if (call is null)
                {
                    await _wake.Reader.ReadAsync(_stop.Token);
                    continue;
                }

                try
                {
                    await TellAsync(call, known);
                    TwinLog.Told(_log, _name, call.Key);
                    Done(call, generation);
                    _backoff.Reset();
                    if (failing)
                        TwinLog.MapperReachable(_log, _name);
                    failing = false;
                }
                catch (GrpcException e) when (e.Code is GrpcStatusCode.Unavailable or GrpcStatusCode.DeadlineExceeded)
                {
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
                    TwinLog.MapperRefused(_log, _name, call.Key, e.Detail);
                    Done(call, generation);
                }
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // Disposed.
        }
    }

    // The wait ends early when the mapper registers or something newer is to be said.
    private async Task PauseAsync(TimeSpan delay)
    {
        using var timer = new CancellationTokenSource(delay, _time);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(timer.Token, _stop.Token);
        try
        {
            await _wake.Reader.ReadAsync(limit.Token);
        }
        catch (OperationCanceledException) when (!_stop.IsCancellationRequested)
        {
            // The delay is over.
        }
    }

    private void Done(MapperCall call, int generation)
    {
        lock (_gate)
        {
            if (generation != _generation)
            {
                // The mapper registered meanwhile; this older call may have landed after its answer, so say the newer state again.
                if (_delivered.Remove(call.Key, out var newer))
                    Enqueue(call with { Message = newer });
                return;
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

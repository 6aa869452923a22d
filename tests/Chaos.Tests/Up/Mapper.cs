using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using Edge.Protocol.Dmi;
using Edge.Protocol.Dmi.V1Beta1;
using Edge.Protocol.Grpc;
using Google.Protobuf;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Chaos.Tests;

/// <summary>A mapper on real sockets: edgecore tells it devices and desired values, and it reports values, each property's growing by one with every report. A value counts as
/// acknowledged when edgecore has answered the report with OK; what has no answer is given up, and the next report has the next value.</summary>
internal sealed class Mapper : IDmiMapper, IAsyncDisposable
{
    private const int PauseMsMax = 90;
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan s_afterFailure = TimeSpan.FromMilliseconds(50);

    private readonly GrpcChannel _channel;
    private readonly DmiManagerClient _edge;
    private readonly string _socket;
    private readonly int _seed;
    private readonly Gate _gate = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly List<Task> _running = [];
    private readonly ConcurrentDictionary<string, Reported> _reported = new();
    private readonly ConcurrentDictionary<string, long> _desired = new();
    private readonly ConcurrentQueue<string> _broken = new();
    private GrpcServer? _server;
    private long _acknowledged;
    private long _unanswered;

    public Mapper(string edgeSocket, string ownSocket, int seed)
    {
        _channel = new GrpcChannel(edgeSocket, TimeProvider.System);
        _edge = new DmiManagerClient(_channel, s_deadline);
        _socket = ownSocket;
        _seed = seed;
    }

    /// <summary>Values whose report was answered with OK.</summary>
    public long Acknowledged => Interlocked.Read(ref _acknowledged);

    /// <summary>Values whose report got no answer.</summary>
    public long Unanswered => Interlocked.Read(ref _unanswered);

    /// <summary>By <c>device/property</c>: the newest acknowledged value, and the newest that was tried.</summary>
    public IReadOnlyDictionary<string, Reported> Values => _reported;

    /// <summary>By device: the desired value that edgecore told last.</summary>
    public IReadOnlyDictionary<string, long> DesiredValues => _desired;

    /// <summary>Desired values that went back; empty when all is well.</summary>
    public IReadOnlyCollection<string> Broken => _broken;

    /// <summary>Serves its socket and registers with edgecore.</summary>
    public async Task StartAsync()
    {
        _server = await GrpcServer.StartAsync(_socket, DmiServices.Map(new GrpcMethods(), this), NullLoggerFactory.Instance, CancellationToken.None);
        var answer = await _edge.MapperRegisterAsync(
            new MapperRegisterRequest
            {
                WithData = true,
                Mapper = new MapperInfo { Name = "chaos-mapper", Version = "v1", ApiVersion = "v1", Protocol = Devices.Protocol, Address = ByteString.CopyFrom(_socket, Encoding.UTF8) },
            },
            CancellationToken.None);
        foreach (var device in answer.DeviceList)
            Take(device);
    }

    /// <summary>Begins to report; the devices are at the edge.</summary>
    public void Report()
    {
        for (var i = 0; i < Devices.Count; i++)
        {
            var number = i;
            _running.Add(Task.Run(() => ReportAsync(Devices.Name(number), new Random(_seed + number))));
        }
    }

    /// <summary>Holds the reports; completes once none waits for its answer.</summary>
    public Task PauseAsync() => _gate.CloseAsync();

    public void Resume() => _gate.Open();

    /// <summary>Throws what ended a reporter: edgecore must take each report that it answers.</summary>
    public void ThrowIfBroken()
    {
        foreach (var task in _running.Where(task => task.IsFaulted))
            task.GetAwaiter().GetResult();
    }

    public async Task StopAsync()
    {
        await _stop.CancelAsync();
        await Task.WhenAll(_running);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Task.WhenAll(_running).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing); // ThrowIfBroken has said it
        if (_server is not null)
            await _server.DisposeAsync();
        _channel.Dispose();
    }

    public Task<RegisterDeviceResponse> RegisterDeviceAsync(RegisterDeviceRequest request, CancellationToken cancellationToken)
    {
        Take(request.Device);
        return Task.FromResult(new RegisterDeviceResponse { DeviceName = request.Device.Name, DeviceNamespace = request.Device.Namespace });
    }

    public Task<UpdateDeviceResponse> UpdateDeviceAsync(UpdateDeviceRequest request, CancellationToken cancellationToken)
    {
        Take(request.Device);
        return Task.FromResult(new UpdateDeviceResponse());
    }

    public Task<RemoveDeviceResponse> RemoveDeviceAsync(RemoveDeviceRequest request, CancellationToken cancellationToken)
    {
        _broken.Enqueue($"device {request.DeviceName} was removed, although nobody deleted it");
        return Task.FromResult(new RemoveDeviceResponse());
    }

    public Task<CreateDeviceModelResponse> CreateDeviceModelAsync(CreateDeviceModelRequest request, CancellationToken cancellationToken)
        => Task.FromResult(new CreateDeviceModelResponse { DeviceModelName = request.Model.Name, DeviceModelNamespace = request.Model.Namespace });

    public Task<RemoveDeviceModelResponse> RemoveDeviceModelAsync(RemoveDeviceModelRequest request, CancellationToken cancellationToken) => Task.FromResult(new RemoveDeviceModelResponse());

    public Task<UpdateDeviceModelResponse> UpdateDeviceModelAsync(UpdateDeviceModelRequest request, CancellationToken cancellationToken) => Task.FromResult(new UpdateDeviceModelResponse());

    public Task<GetDeviceResponse> GetDeviceAsync(GetDeviceRequest request, CancellationToken cancellationToken)
        => throw new GrpcException(GrpcStatusCode.Unimplemented, "edgecore never asks");

    private void Take(Device device)
    {
        if (device.Spec.Properties.FirstOrDefault(one => one.Name == Devices.Desired)?.Desired is not { } desired)
            return;
        var value = long.Parse(desired.Value, CultureInfo.InvariantCulture);
        _desired.AddOrUpdate(device.Name, value, (name, before) =>
        {
            if (value < before)
                _broken.Enqueue($"the desired value of {name} went from {before} back to {value}");
            return value;
        });
    }

    private async Task ReportAsync(string device, Random random)
    {
        try
        {
            while (true)
            {
                await _gate.EnterAsync(_stop.Token);
                var isAnswered = false;
                try
                {
                    isAnswered = await ReportOnceAsync(device, random);
                }
                finally
                {
                    _gate.Leave();
                }

                await Task.Delay(isAnswered ? TimeSpan.FromMilliseconds(random.Next(PauseMsMax)) : s_afterFailure, TimeProvider.System, _stop.Token);
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // Stopped.
        }
    }

    // One or two properties of the device.
    private async Task<bool> ReportOnceAsync(string device, Random random)
    {
        var first = random.Next(Devices.Reported.Count);
        string[] properties = random.Next(3) == 0 ? [Devices.Reported[first], Devices.Reported[(first + 1) % Devices.Reported.Count]] : [Devices.Reported[first]];
        var request = new ReportDeviceStatusRequest { DeviceName = device, DeviceNamespace = "default", ReportedDevice = new DeviceStatus { ReportToCloud = true } };
        foreach (var property in properties)
        {
            var value = _reported.AddOrUpdate($"{device}/{property}", new Reported(0, 1), (_, before) => before with { Tried = before.Tried + 1 }).Tried;
            request.ReportedDevice.Twins.Add(new Twin { PropertyName = property, Reported = new TwinProperty { Value = $"{value}" } });
        }

        try
        {
            await _edge.ReportDeviceStatusAsync(request, CancellationToken.None);
        }
        catch (GrpcException e) when (e.Code is GrpcStatusCode.Unavailable or GrpcStatusCode.DeadlineExceeded or GrpcStatusCode.Internal or GrpcStatusCode.Cancelled)
        {
            // edgecore was killed; whether it has the value is open.
            Interlocked.Add(ref _unanswered, properties.Length);
            return false;
        }

        foreach (var property in properties)
            _reported.AddOrUpdate($"{device}/{property}", new Reported(0, 0), (_, before) => before with { Acknowledged = before.Tried });
        Interlocked.Add(ref _acknowledged, properties.Length);
        return true;
    }
}

/// <summary>What was reported of one property.</summary>
internal sealed record Reported(long Acknowledged, long Tried);

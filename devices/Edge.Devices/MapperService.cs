using System.Collections.Concurrent;
using System.Net;
using System.Threading.Channels;
using Edge.Devices.Local;
using Edge.Devices.Push;
using Edge.Protocol.Dmi;
using Edge.Protocol.Dmi.V1Beta1;
using Edge.Protocol.Grpc;
using Google.Protobuf;
using Microsoft.Extensions.Logging;

namespace Edge.Devices;

/// <summary>A mapper: registers with EdgeCore over DMI, serves DeviceMapperService, and runs a worker for each device. Registration is
/// repeated when a report fails (EdgeCore restarted) and every <see cref="MapperOptions.RegisterPeriodSeconds"/>.</summary>
public sealed class MapperService : IDmiMapper, IDeviceReporter, ILocalHouse, IDisposable
{
    /// <summary>Devices that one mapper serves; a further one is refused.</summary>
    public const int DevicesMax = 4096;

    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(5);
    private readonly MapperOptions _options;
    private readonly IDeviceDriver _driver;
    private readonly PushHub? _push;
    private readonly TimeProvider _time;
    private readonly Random _random;
    private readonly ILoggerFactory _loggers;
    private readonly ILogger _log;
    private readonly DmiManagerClient _edgeCore;
    private readonly GrpcChannel _channel;
    private readonly ConcurrentDictionary<string, DeviceWorker> _workers = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, DeviceModel> _models = new(StringComparer.Ordinal);

    // Held while a registration is under way and while a call of EdgeCore is applied, so a change never lands before an older full list.
    private readonly SemaphoreSlim _gate = new(1, 1);
    private readonly Channel<bool> _again = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });

    /// <param name="push">Where samples go; the caller disposes it after the mapper. Null pushes nothing.</param>
    public MapperService(MapperOptions options, IDeviceDriver driver, TimeProvider time, Random random, ILoggerFactory loggers, PushHub? push = null)
    {
        _push = push;
        _options = options;
        _driver = driver;
        _time = time;
        _random = random;
        _loggers = loggers;
        _log = loggers.CreateLogger<MapperService>();
        _channel = new GrpcChannel(options.EdgeCoreSocket, time);
        _edgeCore = new DmiManagerClient(_channel, s_deadline);
    }

    /// <summary>Runs until cancelled; then the workers end and the socket is removed.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(_options.SocketPath))!);
        LocalApi? api = null;
        var server = await GrpcServer.StartAsync(_options.SocketPath, DmiServices.Map(new GrpcMethods(), this), _loggers, cancellationToken);
        try
        {
            File.SetUnixFileMode(_options.SocketPath, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.GroupWrite);
            DeviceLog.Serving(_log, _options.Name, _options.SocketPath, _options.EdgeCoreSocket);
            api = await StartApiAsync(cancellationToken);
            await KeepRegisteredAsync(cancellationToken);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Asked to stop.
        }
        finally
        {
            if (api is not null)
                await api.DisposeAsync();
            await server.DisposeAsync();
            foreach (var worker in _workers.Values)
                await worker.DisposeAsync();
            _workers.Clear();
            File.Delete(_options.SocketPath);
        }
    }

    /// <summary>Closes the way to EdgeCore; call after <see cref="RunAsync"/> has returned.</summary>
    public void Dispose()
    {
        _channel.Dispose();
        _gate.Dispose();
    }

    DeviceWorker? ILocalHouse.Find(string @namespace, string name) => _workers.GetValueOrDefault(Id(@namespace, name));

    DeviceModel? ILocalHouse.FindModel(string @namespace, string name) => _models.GetValueOrDefault(Id(@namespace, name));

    string ILocalHouse.Metrics() => MapperMetrics.Text(_workers, _push?.Queues ?? [], _driver);

    // A port that is taken must not keep devices from being served.
    private async Task<LocalApi?> StartApiAsync(CancellationToken cancellationToken)
    {
        if (_options.HttpPort == 0)
            return null;
        var address = new IPEndPoint(IPAddress.Parse(_options.HttpAddress), _options.HttpPort);
        try
        {
            var api = await LocalApi.StartAsync(address, this, _time, cancellationToken);
            PushLog.Listening(_log, $"{api.Address}");
            return api;
        }
        catch (IOException e)
        {
            PushLog.NotListening(_log, $"{address}", e.Message);
            return null;
        }
    }

    private async Task KeepRegisteredAsync(CancellationToken cancellationToken)
    {
        var failures = 0;
        while (true)
        {
            TimeSpan pause;
            try
            {
                await RegisterAsync(first: failures > 0 || _workers.IsEmpty, cancellationToken);
                failures = 0;
                pause = TimeSpan.FromSeconds(_options.RegisterPeriodSeconds);
            }
            catch (GrpcException e)
            {
                if (failures == 0)
                    DeviceLog.EdgeCoreAway(_log, _options.EdgeCoreSocket, e.Detail);
                lock (_random)
                    pause = TimeSpan.FromMilliseconds(Math.Max(50, Math.Min(5000, 200 * Math.Pow(2, Math.Min(failures, 10))) * _random.NextDouble()));
                failures++;
            }

            // A failed report ends the long wait, not the short one after a failure.
            await WaitAsync(pause, wakeable: failures == 0, cancellationToken);
        }
    }

    private async Task RegisterAsync(bool first, CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken);
        try
        {
            var answer = await _edgeCore.MapperRegisterAsync(
                new MapperRegisterRequest
                {
                    WithData = true,
                    Mapper = new MapperInfo
                    {
                        Name = _options.Name,
                        Version = _options.Version,
                        ApiVersion = _options.ApiVersion,
                        Protocol = _options.Protocol,
                        Address = ByteString.CopyFromUtf8(_options.SocketPath),
                        State = "OK",
                    },
                },
                cancellationToken);
            if (first)
                DeviceLog.Registered(_log, answer.DeviceList.Count, answer.ModelList.Count);
            _models.Clear();
            foreach (var model in answer.ModelList)
                _models[Id(model.Namespace, model.Name)] = model;
            var listed = answer.DeviceList.Select(device => Id(device.Namespace, device.Name)).ToHashSet(StringComparer.Ordinal);
            foreach (var gone in _workers.Keys.Where(id => !listed.Contains(id)).ToList())
                await RemoveAsync(gone);
            foreach (var device in answer.DeviceList)
                Put(device);
        }
        finally
        {
            _gate.Release();
        }
    }

    Task<RegisterDeviceResponse> IDmiMapper.RegisterDeviceAsync(RegisterDeviceRequest request, CancellationToken cancellationToken)
        => ApplyAsync(
            () =>
            {
                Put(request.Device);
                return new RegisterDeviceResponse { DeviceName = request.Device.Name, DeviceNamespace = request.Device.Namespace };
            },
            cancellationToken);

    Task<UpdateDeviceResponse> IDmiMapper.UpdateDeviceAsync(UpdateDeviceRequest request, CancellationToken cancellationToken)
        => ApplyAsync(
            () =>
            {
                Put(request.Device);
                return new UpdateDeviceResponse();
            },
            cancellationToken);

    async Task<RemoveDeviceResponse> IDmiMapper.RemoveDeviceAsync(RemoveDeviceRequest request, CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken);
        try
        {
            await RemoveAsync(Id(request.DeviceNamespace, request.DeviceName));
            return new RemoveDeviceResponse();
        }
        finally
        {
            _gate.Release();
        }
    }

    Task<CreateDeviceModelResponse> IDmiMapper.CreateDeviceModelAsync(CreateDeviceModelRequest request, CancellationToken cancellationToken)
        => ApplyAsync(
            () =>
            {
                PutModel(request.Model);
                return new CreateDeviceModelResponse { DeviceModelName = request.Model.Name, DeviceModelNamespace = request.Model.Namespace };
            },
            cancellationToken);

    Task<UpdateDeviceModelResponse> IDmiMapper.UpdateDeviceModelAsync(UpdateDeviceModelRequest request, CancellationToken cancellationToken)
        => ApplyAsync(
            () =>
            {
                PutModel(request.Model);
                return new UpdateDeviceModelResponse();
            },
            cancellationToken);

    Task<RemoveDeviceModelResponse> IDmiMapper.RemoveDeviceModelAsync(RemoveDeviceModelRequest request, CancellationToken cancellationToken)
        => ApplyAsync(
            () =>
            {
                _models.TryRemove(Id(request.ModelNamespace, request.ModelName), out _);
                return new RemoveDeviceModelResponse();
            },
            cancellationToken);

    Task<GetDeviceResponse> IDmiMapper.GetDeviceAsync(GetDeviceRequest request, CancellationToken cancellationToken)
        => ApplyAsync(
            () =>
            {
                if (!_workers.TryGetValue(Id(request.DeviceNamespace, request.DeviceName), out var worker))
                    throw new GrpcException(GrpcStatusCode.NotFound, $"there is no device {Id(request.DeviceNamespace, request.DeviceName)}");
                var device = worker.Device.Clone();
                device.Status ??= new DeviceStatus();
                device.Status.Twins.AddRange(worker.Twins);
                return new GetDeviceResponse { Device = device };
            },
            cancellationToken);

    async Task<bool> IDeviceReporter.ReportStatusAsync(ReportDeviceStatusRequest request, CancellationToken cancellationToken)
        => await TryReportAsync(Id(request.DeviceNamespace, request.DeviceName), () => _edgeCore.ReportDeviceStatusAsync(request, cancellationToken));

    async Task<bool> IDeviceReporter.ReportStateAsync(ReportDeviceStatesRequest request, CancellationToken cancellationToken)
        => await TryReportAsync(Id(request.DeviceNamespace, request.DeviceName), () => _edgeCore.ReportDeviceStatesAsync(request, cancellationToken));

    private async Task<bool> TryReportAsync(string device, Func<Task> report)
    {
        try
        {
            await report();
            return true;
        }
        catch (GrpcException e)
        {
            if (e.Code is GrpcStatusCode.Unavailable or GrpcStatusCode.DeadlineExceeded or GrpcStatusCode.NotFound)
                _again.Writer.TryWrite(true);
            else
                DeviceLog.ReportRefused(_log, device, e.Detail);
            return false;
        }
    }

    private async Task<T> ApplyAsync<T>(Func<T> change, CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken);
        try
        {
            return change();
        }
        finally
        {
            _gate.Release();
        }
    }

    private void Put(Device? device)
    {
        if (device is null || device.Name.Length == 0 || device.Spec is null)
            throw new GrpcException(GrpcStatusCode.InvalidArgument, "the request has no device with a name and a spec");
        var id = Id(device.Namespace, device.Name);
        var model = _models.GetValueOrDefault(Id(device.Namespace, device.Spec.DeviceModelReference));
        if (_workers.TryGetValue(id, out var worker))
        {
            worker.Update(device, model);
            return;
        }

        if (_workers.Count >= DevicesMax)
            throw new GrpcException(GrpcStatusCode.ResourceExhausted, $"mapper {_options.Name} serves {DevicesMax} devices already");
        DeviceLog.DeviceChanged(_log, id, "added");
        _workers[id] = new DeviceWorker(device, model, _driver, this, _time, _random, _loggers.CreateLogger<DeviceWorker>(), _push);
    }

    private void PutModel(DeviceModel? model)
    {
        if (model is null || model.Name.Length == 0)
            throw new GrpcException(GrpcStatusCode.InvalidArgument, "the request has no model with a name");
        _models[Id(model.Namespace, model.Name)] = model;
        foreach (var worker in _workers.Values)
        {
            var device = worker.Device;
            if (device.Spec.DeviceModelReference == model.Name && Id(device.Namespace, model.Name) == Id(model.Namespace, model.Name))
                worker.Update(device, model);
        }
    }

    private async Task RemoveAsync(string id)
    {
        if (!_workers.TryRemove(id, out var worker))
            return;
        await worker.DisposeAsync();
        DeviceLog.DeviceChanged(_log, id, "removed");
    }

    private async Task WaitAsync(TimeSpan pause, bool wakeable, CancellationToken cancellationToken)
    {
        if (!wakeable)
        {
            await Task.Delay(pause, _time, cancellationToken);
            return;
        }

        using var timer = new CancellationTokenSource(pause, _time);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(timer.Token, cancellationToken);
        try
        {
            await _again.Reader.ReadAsync(limit.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            // The period is over.
            return;
        }

        // Failed reports of many devices are one reason, not many; and a refusing EdgeCore is not asked in a tight loop.
        await Task.Delay(TimeSpan.FromMilliseconds(200), _time, cancellationToken);
    }

    private static string Id(string @namespace, string name) => $"{(@namespace.Length == 0 ? "default" : @namespace)}/{name}";
}

using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text;
using Edge.Protocol.Dmi;
using Edge.Protocol.Dmi.V1Beta1;
using Edge.Protocol.Grpc;
using Google.Protobuf;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Benchmarks.Twin;

/// <summary>A mapper of 1,000 devices that reports what it is told to: stamps when a desired value reaches it.</summary>
internal sealed class BenchMapper : IDmiMapper, IAsyncDisposable
{
    public const string Protocol = "bench";
    private readonly ConcurrentDictionary<string, byte> _devices = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<(string Device, string Value), TaskCompletionSource<long>> _desired = new();
    private readonly GrpcChannel _channel;
    private GrpcServer? _server;

    public BenchMapper(string edgeSocket)
    {
        _channel = new GrpcChannel(edgeSocket, TimeProvider.System);
        Edge = new DmiManagerClient(_channel, TimeSpan.FromSeconds(30));
    }

    public DmiManagerClient Edge { get; }

    public int Devices => _devices.Count;

    public async Task StartAsync(string socket, CancellationToken cancellationToken)
    {
        _server = await GrpcServer.StartAsync(socket, DmiServices.Map(new GrpcMethods(), this), NullLoggerFactory.Instance, cancellationToken);
        var answer = await Edge.MapperRegisterAsync(
            new MapperRegisterRequest { WithData = true, Mapper = new MapperInfo { Name = "bench", Protocol = Protocol, Address = ByteString.CopyFrom(Encoding.UTF8.GetBytes(socket)) } }, cancellationToken);
        foreach (var device in answer.DeviceList)
            _devices[device.Name] = 0;
    }

    /// <summary>When the mapper was told the desired value of the first property.</summary>
    public Task<long> DesiredAsync(string device, string value) => Of(device, value).Task;

    public Task<RegisterDeviceResponse> RegisterDeviceAsync(RegisterDeviceRequest request, CancellationToken cancellationToken)
    {
        _devices[request.Device.Name] = 0;
        return Task.FromResult(new RegisterDeviceResponse { DeviceName = request.Device.Name, DeviceNamespace = request.Device.Namespace });
    }

    public Task<UpdateDeviceResponse> UpdateDeviceAsync(UpdateDeviceRequest request, CancellationToken cancellationToken)
    {
        var now = Stopwatch.GetTimestamp();
        if (request.Device.Spec.Properties.FirstOrDefault()?.Desired is { } desired)
            Of(request.Device.Name, desired.Value).TrySetResult(now);
        return Task.FromResult(new UpdateDeviceResponse());
    }

    public Task<RemoveDeviceResponse> RemoveDeviceAsync(RemoveDeviceRequest request, CancellationToken cancellationToken) => Task.FromResult(new RemoveDeviceResponse());

    public Task<CreateDeviceModelResponse> CreateDeviceModelAsync(CreateDeviceModelRequest request, CancellationToken cancellationToken) => Task.FromResult(new CreateDeviceModelResponse());

    public Task<RemoveDeviceModelResponse> RemoveDeviceModelAsync(RemoveDeviceModelRequest request, CancellationToken cancellationToken) => Task.FromResult(new RemoveDeviceModelResponse());

    public Task<UpdateDeviceModelResponse> UpdateDeviceModelAsync(UpdateDeviceModelRequest request, CancellationToken cancellationToken) => Task.FromResult(new UpdateDeviceModelResponse());

    public Task<GetDeviceResponse> GetDeviceAsync(GetDeviceRequest request, CancellationToken cancellationToken) => Task.FromResult(new GetDeviceResponse());

    public async ValueTask DisposeAsync()
    {
        if (_server is not null)
            await _server.DisposeAsync();
        _channel.Dispose();
    }

    private TaskCompletionSource<long> Of(string device, string value)
        => _desired.GetOrAdd((device, value), _ => new TaskCompletionSource<long>(TaskCreationOptions.RunContinuationsAsynchronously));
}

using System.Collections.Concurrent;
using System.Text;
using Edge.Protocol.Dmi;
using Edge.Protocol.Dmi.V1Beta1;
using Edge.Protocol.Grpc;
using Edge.Testing;
using Google.Protobuf;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Devices.Tests;

/// <summary>A DMI mapper on a socket of its own that does what a test says, the wrong thing too.</summary>
internal sealed class ScriptedMapper(DeviceHouse house, string name, string protocol) : IDmiMapper, IAsyncDisposable
{
    private readonly GrpcChannel _channel = new(house.DmiSocket, TimeProvider.System);
    private readonly ConcurrentQueue<string> _calls = new();
    private GrpcServer? _server;

    /// <summary>EdgeCore.</summary>
    public DmiManagerClient Edge => new(_channel, TimeSpan.FromSeconds(60));

    /// <summary>Called with each call of EdgeCore but GetDevice, e.g. <c>UpdateDevice one</c>; the answer waits for it, and what it throws is the answer.</summary>
    public Func<string, CancellationToken, Task> OnCall { get; set; } = (_, _) => Task.CompletedTask;

    /// <summary>What EdgeCore called, e.g. <c>UpdateDevice one [level=7]</c>.</summary>
    public IReadOnlyList<string> Calls => [.. _calls];

    /// <summary>Listens, and registers as soon as EdgeCore answers.</summary>
    public async Task<MapperRegisterResponse> StartAsync(bool withData = true)
    {
        _server = await GrpcServer.StartAsync(house.Socket(name), DmiServices.Map(new GrpcMethods(), this), NullLoggerFactory.Instance, CancellationToken.None);
        var request = new MapperRegisterRequest
        {
            WithData = withData, Mapper = new MapperInfo { Name = name, Protocol = protocol, Address = ByteString.CopyFromUtf8(house.Socket(name)) },
        };
        MapperRegisterResponse? answer = null;
        await Eventually.HoldsAsync("EdgeCore takes the registration", async () =>
        {
            try
            {
                answer = await Edge.MapperRegisterAsync(request, CancellationToken.None);
                return true;
            }
            catch (GrpcException e) when (e.Code == GrpcStatusCode.Unavailable)
            {
                return false;
            }
        });
        return answer!;
    }

    /// <summary>Ends in the middle of whatever it is doing.</summary>
    public async Task DieAsync()
    {
        await _server!.DisposeAsync();
        _server = null;
    }

    public Task CalledAsync(string call, int times = 1) => Eventually.HoldsAsync($"{times} times '{call}' at mapper {name}", () => _calls.Count(one => one == call) >= times);

    public Task ReportAsync(string device, string property, string value, long? timestamp = null)
    {
        var reported = new TwinProperty { Value = value };
        if (timestamp is { } at)
            reported.Metadata["timestamp"] = $"{at}";
        return Edge.ReportDeviceStatusAsync(
            new ReportDeviceStatusRequest
            {
                DeviceName = device, DeviceNamespace = "default", ReportedDevice = new DeviceStatus { Twins = { new Twin { PropertyName = property, Reported = reported } } },
            },
            CancellationToken.None);
    }

    public async Task<RegisterDeviceResponse> RegisterDeviceAsync(RegisterDeviceRequest request, CancellationToken cancellationToken)
    {
        await SayAsync($"RegisterDevice {request.Device.Name}", Desired(request.Device), cancellationToken);
        return new RegisterDeviceResponse();
    }

    public async Task<UpdateDeviceResponse> UpdateDeviceAsync(UpdateDeviceRequest request, CancellationToken cancellationToken)
    {
        await SayAsync($"UpdateDevice {request.Device.Name}", Desired(request.Device), cancellationToken);
        return new UpdateDeviceResponse();
    }

    public async Task<RemoveDeviceResponse> RemoveDeviceAsync(RemoveDeviceRequest request, CancellationToken cancellationToken)
    {
        await SayAsync($"RemoveDevice {request.DeviceName}", "", cancellationToken);
        return new RemoveDeviceResponse();
    }

    public async Task<CreateDeviceModelResponse> CreateDeviceModelAsync(CreateDeviceModelRequest request, CancellationToken cancellationToken)
    {
        await SayAsync($"CreateDeviceModel {request.Model.Name}", "", cancellationToken);
        return new CreateDeviceModelResponse();
    }

    public async Task<UpdateDeviceModelResponse> UpdateDeviceModelAsync(UpdateDeviceModelRequest request, CancellationToken cancellationToken)
    {
        await SayAsync($"UpdateDeviceModel {request.Model.Name}", "", cancellationToken);
        return new UpdateDeviceModelResponse();
    }

    public async Task<RemoveDeviceModelResponse> RemoveDeviceModelAsync(RemoveDeviceModelRequest request, CancellationToken cancellationToken)
    {
        await SayAsync($"RemoveDeviceModel {request.ModelName}", "", cancellationToken);
        return new RemoveDeviceModelResponse();
    }

    public Task<GetDeviceResponse> GetDeviceAsync(GetDeviceRequest request, CancellationToken cancellationToken) => Task.FromResult(new GetDeviceResponse());

    public async ValueTask DisposeAsync()
    {
        if (_server is not null)
            await _server.DisposeAsync();
        _channel.Dispose();
    }

    private Task SayAsync(string call, string desired, CancellationToken cancellationToken)
    {
        _calls.Enqueue(call + desired);
        return OnCall(call, cancellationToken);
    }

    private static string Desired(Device device)
    {
        var text = new StringBuilder(" [");
        foreach (var property in device.Spec.Properties)
            text.Append(property.Name).Append('=').Append(property.Desired?.Value is { Length: > 100 } longer ? $"{longer.Length} letters" : property.Desired?.Value);
        return text.Append(']').ToString();
    }
}

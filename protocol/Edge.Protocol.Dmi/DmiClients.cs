using Edge.Protocol.Dmi.V1Beta1;
using Edge.Protocol.Grpc;
using Google.Protobuf;

namespace Edge.Protocol.Dmi;

/// <summary>A mapper's way to EdgeCore. Every call throws <see cref="GrpcException"/> when it fails.</summary>
public sealed class DmiManagerClient(GrpcChannel channel, TimeSpan deadline) : IDmiManager
{
    public Task<MapperRegisterResponse> MapperRegisterAsync(MapperRegisterRequest request, CancellationToken cancellationToken)
        => Call(nameof(DmiMethod.MapperRegister), request, MapperRegisterResponse.Parser, cancellationToken);

    public Task<ReportDeviceStatusResponse> ReportDeviceStatusAsync(ReportDeviceStatusRequest request, CancellationToken cancellationToken)
        => Call(nameof(DmiMethod.ReportDeviceStatus), request, ReportDeviceStatusResponse.Parser, cancellationToken);

    public Task<ReportDeviceStatesResponse> ReportDeviceStatesAsync(ReportDeviceStatesRequest request, CancellationToken cancellationToken)
        => Call(nameof(DmiMethod.ReportDeviceStates), request, ReportDeviceStatesResponse.Parser, cancellationToken);

    private Task<TResponse> Call<TRequest, TResponse>(
        string method, TRequest request, MessageParser<TResponse> parser, CancellationToken cancellationToken)
        where TRequest : IMessage
        where TResponse : IMessage<TResponse>
        => channel.UnaryAsync(DmiServices.ManagerPath + method, request, parser, deadline, cancellationToken);
}

/// <summary>EdgeCore's way to a mapper. Every call throws <see cref="GrpcException"/> when it fails.</summary>
public sealed class DmiMapperClient(GrpcChannel channel, TimeSpan deadline) : IDmiMapper
{
    public Task<RegisterDeviceResponse> RegisterDeviceAsync(RegisterDeviceRequest request, CancellationToken cancellationToken)
        => Call(nameof(DmiMethod.RegisterDevice), request, RegisterDeviceResponse.Parser, cancellationToken);

    public Task<RemoveDeviceResponse> RemoveDeviceAsync(RemoveDeviceRequest request, CancellationToken cancellationToken)
        => Call(nameof(DmiMethod.RemoveDevice), request, RemoveDeviceResponse.Parser, cancellationToken);

    public Task<UpdateDeviceResponse> UpdateDeviceAsync(UpdateDeviceRequest request, CancellationToken cancellationToken)
        => Call(nameof(DmiMethod.UpdateDevice), request, UpdateDeviceResponse.Parser, cancellationToken);

    public Task<CreateDeviceModelResponse> CreateDeviceModelAsync(CreateDeviceModelRequest request, CancellationToken cancellationToken)
        => Call(nameof(DmiMethod.CreateDeviceModel), request, CreateDeviceModelResponse.Parser, cancellationToken);

    public Task<RemoveDeviceModelResponse> RemoveDeviceModelAsync(RemoveDeviceModelRequest request, CancellationToken cancellationToken)
        => Call(nameof(DmiMethod.RemoveDeviceModel), request, RemoveDeviceModelResponse.Parser, cancellationToken);

    public Task<UpdateDeviceModelResponse> UpdateDeviceModelAsync(UpdateDeviceModelRequest request, CancellationToken cancellationToken)
        => Call(nameof(DmiMethod.UpdateDeviceModel), request, UpdateDeviceModelResponse.Parser, cancellationToken);

    public Task<GetDeviceResponse> GetDeviceAsync(GetDeviceRequest request, CancellationToken cancellationToken)
        => Call(nameof(DmiMethod.GetDevice), request, GetDeviceResponse.Parser, cancellationToken);

    private Task<TResponse> Call<TRequest, TResponse>(
        string method, TRequest request, MessageParser<TResponse> parser, CancellationToken cancellationToken)
        where TRequest : IMessage
        where TResponse : IMessage<TResponse>
        => channel.UnaryAsync(DmiServices.MapperPath + method, request, parser, deadline, cancellationToken);
}

// The method names of both services, for nameof.
internal enum DmiMethod
{
    MapperRegister,
    ReportDeviceStatus,
    ReportDeviceStates,
    RegisterDevice,
    RemoveDevice,
    UpdateDevice,
    CreateDeviceModel,
    RemoveDeviceModel,
    UpdateDeviceModel,
    GetDevice,
}

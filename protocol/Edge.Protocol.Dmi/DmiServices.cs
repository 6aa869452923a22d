using Edge.Protocol.Dmi.V1Beta1;
using Edge.Protocol.Grpc;

namespace Edge.Protocol.Dmi;

/// <summary>What EdgeCore offers mappers (service DeviceManagerService). A handler throws <see cref="GrpcException"/> to refuse.</summary>
public interface IDmiManager
{
    Task<MapperRegisterResponse> MapperRegisterAsync(MapperRegisterRequest request, CancellationToken cancellationToken);

    Task<ReportDeviceStatusResponse> ReportDeviceStatusAsync(ReportDeviceStatusRequest request, CancellationToken cancellationToken);

    Task<ReportDeviceStatesResponse> ReportDeviceStatesAsync(ReportDeviceStatesRequest request, CancellationToken cancellationToken);
}

/// <summary>What a mapper offers EdgeCore (service DeviceMapperService).</summary>
public interface IDmiMapper
{
    Task<RegisterDeviceResponse> RegisterDeviceAsync(RegisterDeviceRequest request, CancellationToken cancellationToken);

    Task<RemoveDeviceResponse> RemoveDeviceAsync(RemoveDeviceRequest request, CancellationToken cancellationToken);

    Task<UpdateDeviceResponse> UpdateDeviceAsync(UpdateDeviceRequest request, CancellationToken cancellationToken);

    Task<CreateDeviceModelResponse> CreateDeviceModelAsync(CreateDeviceModelRequest request, CancellationToken cancellationToken);

    Task<RemoveDeviceModelResponse> RemoveDeviceModelAsync(RemoveDeviceModelRequest request, CancellationToken cancellationToken);

    Task<UpdateDeviceModelResponse> UpdateDeviceModelAsync(UpdateDeviceModelRequest request, CancellationToken cancellationToken);

    Task<GetDeviceResponse> GetDeviceAsync(GetDeviceRequest request, CancellationToken cancellationToken);
}

/// <summary>Puts the two services on a gRPC server.</summary>
public static class DmiServices
{
    internal const string ManagerPath = "/v1beta1.DeviceManagerService/";
    internal const string MapperPath = "/v1beta1.DeviceMapperService/";

    public static GrpcMethods Map(GrpcMethods methods, IDmiManager manager)
        => methods
            .MapUnary(ManagerPath + "MapperRegister", MapperRegisterRequest.Parser, manager.MapperRegisterAsync)
            .MapUnary(ManagerPath + "ReportDeviceStatus", ReportDeviceStatusRequest.Parser, manager.ReportDeviceStatusAsync)
            .MapUnary(ManagerPath + "ReportDeviceStates", ReportDeviceStatesRequest.Parser, manager.ReportDeviceStatesAsync);

    public static GrpcMethods Map(GrpcMethods methods, IDmiMapper mapper)
        => methods
            .MapUnary(MapperPath + "RegisterDevice", RegisterDeviceRequest.Parser, mapper.RegisterDeviceAsync)
            .MapUnary(MapperPath + "RemoveDevice", RemoveDeviceRequest.Parser, mapper.RemoveDeviceAsync)
            .MapUnary(MapperPath + "UpdateDevice", UpdateDeviceRequest.Parser, mapper.UpdateDeviceAsync)
            .MapUnary(MapperPath + "CreateDeviceModel", CreateDeviceModelRequest.Parser, mapper.CreateDeviceModelAsync)
            .MapUnary(MapperPath + "RemoveDeviceModel", RemoveDeviceModelRequest.Parser, mapper.RemoveDeviceModelAsync)
            .MapUnary(MapperPath + "UpdateDeviceModel", UpdateDeviceModelRequest.Parser, mapper.UpdateDeviceModelAsync)
            .MapUnary(MapperPath + "GetDevice", GetDeviceRequest.Parser, mapper.GetDeviceAsync);
}

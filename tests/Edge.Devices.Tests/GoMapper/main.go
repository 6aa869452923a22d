// A small DMI mapper on grpc-go, as mappers made with KubeEdge's mapper-framework are, for the tests: its devices are numbers in memory that take on whatever is
// desired of them. It writes a line for each call it gets, and for each it makes.
//
//	go-mapper serve EDGECORE_SOCKET OWN_SOCKET PROTOCOL   registers, serves EdgeCore's calls, reports
//	go-mapper call MAPPER_SOCKET                          calls a mapper as EdgeCore does
//
// The package "dmi" is made of dmi.proto by protoc at test time.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"dmi"

	"github.com/golang/protobuf/jsonpb"
	"github.com/golang/protobuf/ptypes"
	_ "github.com/golang/protobuf/ptypes/struct"
	_ "github.com/golang/protobuf/ptypes/wrappers"
	"google.golang.org/grpc"
)

// The target is the socket's path and the dialer is our own: grpc-go then sends the path as :authority.
func dial(socket string) *grpc.ClientConn {
	connection, err := grpc.Dial(socket, grpc.WithInsecure(), grpc.WithBlock(), grpc.WithTimeout(30*time.Second),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", address)
		}))
	exitOn(err)
	return connection
}

func exitOn(err error) {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

func deadline() context.Context {
	// The process ends before the timer matters.
	ctx, _ := context.WithTimeout(context.Background(), 30*time.Second)
	return ctx
}

type mapper struct {
	dmi.UnimplementedDeviceMapperServiceServer
	edge    dmi.DeviceManagerServiceClient
	gate    sync.Mutex
	devices map[string]*dmi.Device
}

func (m *mapper) say(format string, values ...interface{}) {
	m.gate.Lock()
	defer m.gate.Unlock()
	fmt.Printf(format+"\n", values...)
}

// Takes on what is desired and tells EdgeCore so. EdgeCore's own call must not wait for ours.
func (m *mapper) follow(device *dmi.Device) {
	m.gate.Lock()
	m.devices[device.Namespace+"/"+device.Name] = device
	m.gate.Unlock()
	go func() {
		now := strconv.FormatInt(time.Now().UnixNano()/1e6, 10)
		status := &dmi.DeviceStatus{}
		for _, property := range device.GetSpec().GetProperties() {
			if desired := property.GetDesired(); desired.GetValue() != "" {
				status.Twins = append(status.Twins, &dmi.Twin{
					PropertyName:    property.Name,
					ObservedDesired: &dmi.TwinProperty{Value: desired.Value, Metadata: map[string]string{"timestamp": now, "type": "string"}},
					Reported:        &dmi.TwinProperty{Value: desired.Value, Metadata: map[string]string{"timestamp": now, "type": "string"}},
				})
			}
		}
		_, err := m.edge.ReportDeviceStatus(deadline(), &dmi.ReportDeviceStatusRequest{DeviceName: device.Name, DeviceNamespace: device.Namespace, ReportedDevice: status})
		m.say("reported %s/%s %d %v", device.Namespace, device.Name, len(status.Twins), err)
		_, err = m.edge.ReportDeviceStates(deadline(), &dmi.ReportDeviceStatesRequest{DeviceName: device.Name, DeviceNamespace: device.Namespace, State: "online"})
		m.say("online %s/%s %v", device.Namespace, device.Name, err)
	}()
}

func desired(device *dmi.Device) string {
	all := []string{}
	for _, property := range device.GetSpec().GetProperties() {
		all = append(all, property.Name+"="+property.GetDesired().GetValue())
	}
	sort.Strings(all)
	return fmt.Sprint(all)
}

// What the device's protocol says, each value with its type and as the JSON of what it unwraps to.
func config(device *dmi.Device) string {
	all := []string{}
	for name, wrapped := range device.GetSpec().GetProtocol().GetConfigData().GetData() {
		var value ptypes.DynamicAny
		text := ""
		err := ptypes.UnmarshalAny(wrapped, &value)
		if err == nil {
			text, err = new(jsonpb.Marshaler).MarshalToString(value.Message)
		}
		if err != nil {
			text = err.Error()
		}
		all = append(all, name+"="+strings.TrimPrefix(wrapped.GetTypeUrl(), "type.googleapis.com/google.protobuf.")+":"+text)
	}
	sort.Strings(all)
	return strings.Join(all, " ")
}

func (m *mapper) RegisterDevice(_ context.Context, request *dmi.RegisterDeviceRequest) (*dmi.RegisterDeviceResponse, error) {
	device := request.GetDevice()
	m.say("RegisterDevice %s/%s %s", device.GetNamespace(), device.GetName(), desired(device))
	m.follow(device)
	return &dmi.RegisterDeviceResponse{DeviceName: device.GetName(), DeviceNamespace: device.GetNamespace()}, nil
}

func (m *mapper) UpdateDevice(_ context.Context, request *dmi.UpdateDeviceRequest) (*dmi.UpdateDeviceResponse, error) {
	device := request.GetDevice()
	m.say("UpdateDevice %s/%s %s", device.GetNamespace(), device.GetName(), desired(device))
	m.follow(device)
	return &dmi.UpdateDeviceResponse{}, nil
}

func (m *mapper) RemoveDevice(_ context.Context, request *dmi.RemoveDeviceRequest) (*dmi.RemoveDeviceResponse, error) {
	m.say("RemoveDevice %s/%s", request.DeviceNamespace, request.DeviceName)
	m.gate.Lock()
	defer m.gate.Unlock()
	delete(m.devices, request.DeviceNamespace+"/"+request.DeviceName)
	return &dmi.RemoveDeviceResponse{}, nil
}

func (m *mapper) CreateDeviceModel(_ context.Context, request *dmi.CreateDeviceModelRequest) (*dmi.CreateDeviceModelResponse, error) {
	model := request.GetModel()
	m.say("CreateDeviceModel %s/%s %d", model.GetNamespace(), model.GetName(), len(model.GetSpec().GetProperties()))
	return &dmi.CreateDeviceModelResponse{DeviceModelName: model.GetName(), DeviceModelNamespace: model.GetNamespace()}, nil
}

func (m *mapper) UpdateDeviceModel(_ context.Context, request *dmi.UpdateDeviceModelRequest) (*dmi.UpdateDeviceModelResponse, error) {
	m.say("UpdateDeviceModel %s/%s %d", request.GetModel().GetNamespace(), request.GetModel().GetName(), len(request.GetModel().GetSpec().GetProperties()))
	return &dmi.UpdateDeviceModelResponse{}, nil
}

func (m *mapper) GetDevice(_ context.Context, request *dmi.GetDeviceRequest) (*dmi.GetDeviceResponse, error) {
	m.gate.Lock()
	defer m.gate.Unlock()
	return &dmi.GetDeviceResponse{Device: m.devices[request.DeviceNamespace+"/"+request.DeviceName]}, nil
}

func serve(edgeSocket, ownSocket, protocol string) {
	listener, err := net.Listen("unix", ownSocket)
	exitOn(err)
	m := &mapper{edge: dmi.NewDeviceManagerServiceClient(dial(edgeSocket)), devices: map[string]*dmi.Device{}}
	server := grpc.NewServer()
	dmi.RegisterDeviceMapperServiceServer(server, m)
	go func() { exitOn(server.Serve(listener)) }()
	answer, err := m.edge.MapperRegister(deadline(), &dmi.MapperRegisterRequest{WithData: true, Mapper: &dmi.MapperInfo{
		Name: protocol + "-mapper", Version: "v1.13.0", ApiVersion: "v1.0.0", Protocol: protocol, Address: []byte(ownSocket), State: "ok"}})
	exitOn(err)
	m.say("registered, %d models, %d devices", len(answer.ModelList), len(answer.DeviceList))
	for _, device := range answer.DeviceList {
		m.say("given %s/%s %s", device.Namespace, device.Name, desired(device))
		m.say("config %s/%s %s", device.Namespace, device.Name, config(device))
		m.follow(device)
	}
	select {}
}

// Numbers as text, as KubeEdge's own configs have them where they are not nested.
func call(socket string) {
	client := dmi.NewDeviceMapperServiceClient(dial(socket))
	model := &dmi.DeviceModel{Name: "memory", Namespace: "default", Spec: &dmi.DeviceModelSpec{Properties: []*dmi.ModelProperty{{Name: "level", Type: "STRING", AccessMode: "ReadWrite"}}}}
	created, err := client.CreateDeviceModel(deadline(), &dmi.CreateDeviceModelRequest{Model: model})
	exitOn(err)
	fmt.Printf("created %s/%s\n", created.DeviceModelNamespace, created.DeviceModelName)
	device := func(value string) *dmi.Device {
		return &dmi.Device{Name: "one", Namespace: "default", Spec: &dmi.DeviceSpec{DeviceModelReference: "memory", Protocol: &dmi.ProtocolConfig{ProtocolName: "memory"},
			Properties: []*dmi.DeviceProperty{{Name: "level", Desired: &dmi.TwinProperty{Value: value}, Visitors: &dmi.VisitorConfig{ProtocolName: "memory"}, CollectCycle: 20, ReportCycle: 20, ReportToCloud: true}}}}
	}
	registered, err := client.RegisterDevice(deadline(), &dmi.RegisterDeviceRequest{Device: device("1")})
	exitOn(err)
	fmt.Printf("registered %s/%s\n", registered.DeviceNamespace, registered.DeviceName)
	_, err = client.UpdateDevice(deadline(), &dmi.UpdateDeviceRequest{Device: device("2")})
	exitOn(err)
	for began := time.Now(); time.Since(began) < 30*time.Second; time.Sleep(20 * time.Millisecond) {
		got, err := client.GetDevice(deadline(), &dmi.GetDeviceRequest{DeviceName: "one", DeviceNamespace: "default"})
		exitOn(err)
		for _, twin := range got.GetDevice().GetStatus().GetTwins() {
			if twin.GetReported().GetValue() == "2" {
				fmt.Println("the device has 2")
				_, err = client.RemoveDevice(deadline(), &dmi.RemoveDeviceRequest{DeviceName: "one", DeviceNamespace: "default"})
				exitOn(err)
				fmt.Println("removed")
				return
			}
		}
	}
	exitOn(fmt.Errorf("the device did not get the value 2"))
}

func main() {
	switch {
	case len(os.Args) == 5 && os.Args[1] == "serve":
		serve(os.Args[2], os.Args[3], os.Args[4])
	case len(os.Args) == 3 && os.Args[1] == "call":
		call(os.Args[2])
	default:
		fmt.Fprintln(os.Stderr, "usage: go-mapper serve EDGECORE_SOCKET OWN_SOCKET PROTOCOL | go-mapper call MAPPER_SOCKET")
		os.Exit(2)
	}
}

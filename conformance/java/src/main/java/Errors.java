import static java.util.Map.entry;

import java.util.Map;
import software.amazon.awssdk.services.lambda.model.CodeArtifactUserDeletedException;
import software.amazon.awssdk.services.lambda.model.CodeArtifactUserFailedException;
import software.amazon.awssdk.services.lambda.model.CodeArtifactUserPendingException;
import software.amazon.awssdk.services.lambda.model.DurableExecutionAlreadyStartedException;
import software.amazon.awssdk.services.lambda.model.Ec2AccessDeniedException;
import software.amazon.awssdk.services.lambda.model.Ec2ThrottledException;
import software.amazon.awssdk.services.lambda.model.Ec2UnexpectedException;
import software.amazon.awssdk.services.lambda.model.EfsMountConnectivityException;
import software.amazon.awssdk.services.lambda.model.EfsMountFailureException;
import software.amazon.awssdk.services.lambda.model.EfsMountTimeoutException;
import software.amazon.awssdk.services.lambda.model.EfsioException;
import software.amazon.awssdk.services.lambda.model.EniLimitReachedException;
import software.amazon.awssdk.services.lambda.model.EniNotReadyException;
import software.amazon.awssdk.services.lambda.model.InvalidParameterValueException;
import software.amazon.awssdk.services.lambda.model.InvalidRequestContentException;
import software.amazon.awssdk.services.lambda.model.InvalidRuntimeException;
import software.amazon.awssdk.services.lambda.model.InvalidSecurityGroupIdException;
import software.amazon.awssdk.services.lambda.model.InvalidSubnetIdException;
import software.amazon.awssdk.services.lambda.model.InvalidZipFileException;
import software.amazon.awssdk.services.lambda.model.KmsAccessDeniedException;
import software.amazon.awssdk.services.lambda.model.KmsDisabledException;
import software.amazon.awssdk.services.lambda.model.KmsInvalidStateException;
import software.amazon.awssdk.services.lambda.model.KmsNotFoundException;
import software.amazon.awssdk.services.lambda.model.LambdaException;
import software.amazon.awssdk.services.lambda.model.ModeNotSupportedException;
import software.amazon.awssdk.services.lambda.model.NoPublishedVersionException;
import software.amazon.awssdk.services.lambda.model.RecursiveInvocationException;
import software.amazon.awssdk.services.lambda.model.RequestTooLargeException;
import software.amazon.awssdk.services.lambda.model.ResourceConflictException;
import software.amazon.awssdk.services.lambda.model.ResourceNotFoundException;
import software.amazon.awssdk.services.lambda.model.ResourceNotReadyException;
import software.amazon.awssdk.services.lambda.model.S3FilesMountConnectivityException;
import software.amazon.awssdk.services.lambda.model.S3FilesMountFailureException;
import software.amazon.awssdk.services.lambda.model.S3FilesMountTimeoutException;
import software.amazon.awssdk.services.lambda.model.SerializedRequestEntityTooLargeException;
import software.amazon.awssdk.services.lambda.model.ServiceException;
import software.amazon.awssdk.services.lambda.model.ServiceQuotaExceededException;
import software.amazon.awssdk.services.lambda.model.SnapStartException;
import software.amazon.awssdk.services.lambda.model.SnapStartNotReadyException;
import software.amazon.awssdk.services.lambda.model.SnapStartRegenerationFailureException;
import software.amazon.awssdk.services.lambda.model.SnapStartTimeoutException;
import software.amazon.awssdk.services.lambda.model.SubnetIpAddressLimitReachedException;
import software.amazon.awssdk.services.lambda.model.TooManyRequestsException;
import software.amazon.awssdk.services.lambda.model.UnsupportedMediaTypeException;

/** Which error of the service is which class of the SDK. */
final class Errors {
  static final Map<String, Class<? extends LambdaException>> BY_NAME =
      Map.ofEntries(
          entry("CodeArtifactUserDeletedException", CodeArtifactUserDeletedException.class),
          entry("CodeArtifactUserFailedException", CodeArtifactUserFailedException.class),
          entry("CodeArtifactUserPendingException", CodeArtifactUserPendingException.class),
          entry("DurableExecutionAlreadyStartedException", DurableExecutionAlreadyStartedException.class),
          entry("EC2AccessDeniedException", Ec2AccessDeniedException.class),
          entry("EC2ThrottledException", Ec2ThrottledException.class),
          entry("EC2UnexpectedException", Ec2UnexpectedException.class),
          entry("EFSIOException", EfsioException.class),
          entry("EFSMountConnectivityException", EfsMountConnectivityException.class),
          entry("EFSMountFailureException", EfsMountFailureException.class),
          entry("EFSMountTimeoutException", EfsMountTimeoutException.class),
          entry("ENILimitReachedException", EniLimitReachedException.class),
          entry("ENINotReadyException", EniNotReadyException.class),
          entry("InvalidParameterValueException", InvalidParameterValueException.class),
          entry("InvalidRequestContentException", InvalidRequestContentException.class),
          entry("InvalidRuntimeException", InvalidRuntimeException.class),
          entry("InvalidSecurityGroupIDException", InvalidSecurityGroupIdException.class),
          entry("InvalidSubnetIDException", InvalidSubnetIdException.class),
          entry("InvalidZipFileException", InvalidZipFileException.class),
          entry("KMSAccessDeniedException", KmsAccessDeniedException.class),
          entry("KMSDisabledException", KmsDisabledException.class),
          entry("KMSInvalidStateException", KmsInvalidStateException.class),
          entry("KMSNotFoundException", KmsNotFoundException.class),
          entry("ModeNotSupportedException", ModeNotSupportedException.class),
          entry("NoPublishedVersionException", NoPublishedVersionException.class),
          entry("RecursiveInvocationException", RecursiveInvocationException.class),
          entry("RequestTooLargeException", RequestTooLargeException.class),
          entry("ResourceConflictException", ResourceConflictException.class),
          entry("ResourceNotFoundException", ResourceNotFoundException.class),
          entry("ResourceNotReadyException", ResourceNotReadyException.class),
          entry("S3FilesMountConnectivityException", S3FilesMountConnectivityException.class),
          entry("S3FilesMountFailureException", S3FilesMountFailureException.class),
          entry("S3FilesMountTimeoutException", S3FilesMountTimeoutException.class),
          entry("SerializedRequestEntityTooLargeException", SerializedRequestEntityTooLargeException.class),
          entry("ServiceException", ServiceException.class),
          entry("ServiceQuotaExceededException", ServiceQuotaExceededException.class),
          entry("SnapStartException", SnapStartException.class),
          entry("SnapStartNotReadyException", SnapStartNotReadyException.class),
          entry("SnapStartRegenerationFailureException", SnapStartRegenerationFailureException.class),
          entry("SnapStartTimeoutException", SnapStartTimeoutException.class),
          entry("SubnetIPAddressLimitReachedException", SubnetIpAddressLimitReachedException.class),
          entry("TooManyRequestsException", TooManyRequestsException.class),
          entry("UnsupportedMediaTypeException", UnsupportedMediaTypeException.class));

  private Errors() {}
}
